import type { ResourceSet } from '../../protocols/resources.ts'
import type { PoolDevice } from '../resources/gpu-pool.ts'

export interface LeaseBookOptions {
  /** What the node offers to tasks. */
  total: ResourceSet
  /**
   * Its GPU devices, by their numbers.
   * @default none
   */
  gpuIds?: readonly number[]
  /**
   * The same devices with what is known of them: takes the place of `gpuIds`.
   * @default those of `gpuIds`, of which nothing more is known
   */
  gpus?: readonly PoolDevice[]
  /**
   * Worker processes at most, those that wait in `get()` included. Recursion deeper than this is refused.
   * @default 256
   */
  workersMax?: number
  /**
   * Plain workers (no runtime environment, no GPU) kept ready.
   * @default the node's CPUs, from 1 to 64
   */
  prestart?: number
  /**
   * Idle workers beyond `prestart` are stopped after this time.
   * @default 10_000
   */
  idleMs?: number
  /**
   * How long a lease is its owner's alone before it is asked back for others that wait.
   * @default 200
   */
  quantumMs?: number
  /**
   * How long nothing may move while all workers wait in `get()`, before requests that wait for one are refused. They may wait
   * for what other nodes do.
   * @default 5_000
   */
  stuckMs?: number
  /**
   * How long a request may be overtaken by later ones that need less, before what it lacks is kept for it.
   * @default 2_000
   */
  starvationMs?: number
  /**
   * Failed starts in a row after which requests are refused instead of kept waiting.
   * @default 3
   */
  startFailuresMax?: number
  /**
   * How long requests are refused then, before one is let try again.
   * @default 5_000
   */
  startRetryMs?: number
  /**
   * Pause after the first failed start; it doubles with each.
   * @default 100
   */
  startBackoffMs?: number
}

export type LeaseBookSettings = Required<Omit<LeaseBookOptions, 'gpuIds'>>

export function leaseBookSettings(options: LeaseBookOptions): LeaseBookSettings {
  const workersMax = options.workersMax ?? 256
  const cpus = Math.floor(options.total['CPU'] ?? 0)
  return {
    total: options.total,
    gpus: options.gpus ?? (options.gpuIds ?? []).map((id) => ({ id })),
    workersMax,
    prestart: Math.min(options.prestart ?? Math.max(1, Math.min(cpus, 64)), workersMax),
    idleMs: options.idleMs ?? 10_000,
    quantumMs: options.quantumMs ?? 200,
    stuckMs: options.stuckMs ?? 5_000,
    starvationMs: options.starvationMs ?? 2_000,
    startFailuresMax: options.startFailuresMax ?? 3,
    startRetryMs: options.startRetryMs ?? 5_000,
    startBackoffMs: options.startBackoffMs ?? 100,
  }
}
