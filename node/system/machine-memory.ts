import os from 'node:os'

/** Memory of the machine, or of the container that this runs in. */
export function machineMemoryBytes(): number {
  const limit = process.constrainedMemory()
  return limit > 0 ? Math.min(limit, os.totalmem()) : os.totalmem()
}
