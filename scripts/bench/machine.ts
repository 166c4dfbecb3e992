import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'

/** What the figures depend on. */
export function machineFacts(): Record<string, string | number> {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform}-${process.arch} ${release()}`,
    node: process.versions.node,
    // Other work on the machine makes every figure worse.
    loadAtStart: Number((loadavg()[0] ?? 0).toFixed(2)),
  }
}
