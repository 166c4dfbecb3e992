import { ObjectStoreFullError } from '../../protocols/errors.ts'

/** Why there is no room for a value, in figures, and what helps. */
export function storeFull(bytes: number, details: Record<string, unknown>): ObjectStoreFullError {
  const { bytesMax, usedBytes, pinnedBytes, disk } = details
  const figures = [
    ...(typeof usedBytes === 'number' ? [`${usedBytes} of ${String(bytesMax)} bytes are in use`] : []),
    ...(typeof pinnedBytes === 'number' && pinnedBytes > 0 ? [`${pinnedBytes} of them are being read`] : []),
    ...(typeof disk === 'string' && disk !== '' ? [disk] : []),
  ]
  const why = figures.length === 0 ? '' : ` (${figures.join(', ')})`
  return new ObjectStoreFullError(
    `no room in the object store for a value of ${bytes} bytes${why}: drop refs and values that are no longer needed, or start the node with a larger --store, or a --spill-dir with room`,
    { bytes, ...details },
  )
}
