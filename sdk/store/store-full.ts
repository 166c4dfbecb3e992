import { ObjectStoreFullError } from '../../protocols/errors.ts'

export function storeFull(bytes: number, details: Record<string, unknown>): ObjectStoreFullError {
  return new ObjectStoreFullError(
    `no room in the object store for a value of ${bytes} bytes: drop refs and values that are no longer needed, or start the node with a larger --store`,
    { bytes, ...details },
  )
}
