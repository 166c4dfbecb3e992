import { ObjectStoreFullError } from '../../protocols/errors.ts'

/** Why a value of another node cannot be brought here. */
export function storeFull(bytes: number, details: Record<string, unknown>): ObjectStoreFullError {
  return new ObjectStoreFullError(
    `no room in the object store of this node for a value of ${bytes} bytes from another: drop refs that are no longer needed, or start the node with a larger --store`,
    { bytes, ...details },
  )
}
