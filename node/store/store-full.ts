import { ObjectStoreFullError } from '../../protocols/errors.ts'
import type { StoredKind } from './store-events.ts'

/** Why there is no room for a value, in figures, and what helps. */
export function storeFull(
  bytes: number,
  details: Record<string, unknown>,
  kind: StoredKind = 'primary',
): ObjectStoreFullError {
  const { bytesMax, usedBytes, pinnedBytes, disk } = details
  const isTooLarge = kind === 'copy' && typeof bytesMax === 'number' && bytes > bytesMax
  if (isTooLarge) {
    return new ObjectStoreFullError(
      `a value of ${bytes} bytes is larger than this node's whole object store (${bytesMax} bytes), into which values of other nodes must fit: start this node with a larger --store, or use the value in a task on the node that has it`,
      { bytes, ...details },
      { retryable: false },
    )
  }
  const pinned = typeof pinnedBytes === 'number' ? pinnedBytes : 0
  const figures = [
    ...(typeof usedBytes === 'number' ? [`${usedBytes} of ${String(bytesMax)} bytes are in use`] : []),
    ...(pinned > 0 ? [`${pinned} of them are being looked at by programs`] : []),
    ...(typeof disk === 'string' && disk !== '' ? [disk] : []),
  ]
  const why = figures.length === 0 ? '' : ` (${figures.join(', ')})`
  // What is looked at stays in memory, also when it is on the disk; and a copy goes nowhere else.
  const help =
    kind === 'copy' && pinned > 0
      ? 'release() what programs have got and need no more, or start the node with a larger --store'
      : 'drop refs and values that are no longer needed, or start the node with a larger --store, or a --spill-dir with room'
  return new ObjectStoreFullError(`no room in the object store for a value of ${bytes} bytes${why}: ${help}`, {
    bytes,
    ...details,
  })
}
