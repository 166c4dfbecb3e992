import { formatAmount } from '../../protocols/resources.ts'
import type { OutOfMemoryDetails } from '../../protocols/out-of-memory.ts'
import type { HeldLease, LeaseBook } from '../leases/lease-book.ts'
import type { WorkerPool } from '../workers/worker-pool.ts'
import { groupMemory } from './group-memory.ts'
import { MemoryPolicy, type MemoryEvent, type MemoryHolder } from './memory-policy.ts'
import type { MemoryUse, ReadMemory } from './memory-use.ts'

export interface MemoryWatchOptions {
  readonly node: string
  readonly limitPercent: number
  readonly read: ReadMemory
  /** How often the system has ended a process for want of memory. */
  systemKills(): number | undefined
  readonly book: LeaseBook
  readonly pool: WorkerPool
  now(): number
  log(text: string): void
}

type Holder = MemoryHolder & HeldLease & { readonly pid: number }

const lookMs = 250
/** A worker that was killed from outside so soon after the system has ended a process is taken to be that process. */
const systemKillMs = 10_000
/** So many of the largest workers are named in the error. */
const namedMax = 5

/** Looks at the memory four times a second, and ends a worker when it runs out: which one, `MemoryPolicy` says. */
export class MemoryWatch {
  readonly #with: MemoryWatchOptions
  readonly #policy: MemoryPolicy<Holder>
  #timer: NodeJS.Timeout | undefined
  #isClosed = false
  #use: MemoryUse | undefined
  #systemKills: number | undefined
  /** Processes that the system has ended of late, of which it is not known that they were workers. */
  #unclaimed = 0
  #systemKilledAtMs = -Infinity
  endedCount = 0

  constructor(options: MemoryWatchOptions) {
    this.#with = options
    this.#policy = new MemoryPolicy(options)
  }

  /** What was read last, for status pages; undefined where nothing can be read. */
  get use(): (MemoryUse & { limitBytes: number }) | undefined {
    return this.#use && { ...this.#use, limitBytes: this.#policy.limitOf(this.#use) }
  }

  open(): void {
    this.#systemKills = this.#with.systemKills()
    this.#lookLater()
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  workerGone(workerId: number): void {
    this.#policy.step({ type: 'workerGone', workerId }, this.#with.now())
  }

  /** What is known, if it was the system that has ended a worker just now, because memory ran out. */
  systemEnded(): OutOfMemoryDetails | undefined {
    this.#countSystemKills()
    if (this.#with.now() - this.#systemKilledAtMs > systemKillMs) this.#unclaimed = 0
    if (this.#use === undefined || this.#unclaimed === 0) return undefined
    this.#unclaimed--
    return this.#details(this.#use, 0, [])
  }

  #countSystemKills(): void {
    const count = this.#with.systemKills() ?? 0
    const more = count - (this.#systemKills ?? count)
    this.#systemKills = count
    if (more <= 0) return
    this.#unclaimed += more
    this.#systemKilledAtMs = this.#with.now()
  }

  #lookLater(): void {
    if (this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.#look().then(
        () => this.#lookLater(),
        (error: Error) => {
          this.#with.log(`memory could not be looked at: ${error.message}`)
          this.#lookLater()
        },
      )
    }, lookMs).unref()
  }

  async #look(): Promise<void> {
    const { read, log } = this.#with
    this.#countSystemKills()
    this.#use = await read()
    if (this.#use === undefined || this.#step({ type: 'measured', use: this.#use })?.type !== 'look') return
    const bytes = await groupMemory(Array.from(this.#with.pool.all(), ({ pid }) => pid))
    // While that was read, leases have come and gone, and memory may be free again.
    const use = await read()
    if (use === undefined || this.#isClosed) return
    const holders = this.#holders(bytes)
    const action = this.#step({ type: 'looked', use, holders })
    if (action?.type === 'end') this.#end(use, action.holder, holders)
    else if (action?.type === 'helpless') {
      log(`memory is short (${this.#describe(use)}), and no worker holds enough of it to be ended`)
    }
  }

  #step(event: MemoryEvent<Holder>): ReturnType<MemoryPolicy<Holder>['step']> {
    return this.#policy.step(event, this.#with.now())
  }

  #holders(bytesOf: ReadonlyMap<number, number>): Holder[] {
    const { book, pool } = this.#with
    return book.held().map((lease) => {
      const pid = pool.get(lease.workerId)?.pid ?? 0
      return { ...lease, pid, bytes: bytesOf.get(pid) ?? 0 }
    })
  }

  #end(use: MemoryUse, holder: Holder, holders: readonly Holder[]): void {
    const { node, pool, log } = this.#with
    const details = this.#details(use, holder.bytes, holders)
    const reason = `node ${node} ran out of memory (${this.#describe(use)}); the worker held ${formatAmount('memory', holder.bytes)}`
    this.endedCount++
    log(`the worker of ${holder.label} (pid ${holder.pid}) is ended: ${reason}`)
    pool.kill(holder.workerId, reason, details)
  }

  #details(use: MemoryUse, rssBytes: number, holders: readonly Holder[]): OutOfMemoryDetails {
    const workers = holders
      .toSorted((a, b) => b.bytes - a.bytes)
      .slice(0, namedMax)
      .map(({ pid, label, bytes }) => ({ pid, label, rssBytes: bytes }))
    const { usedBytes, totalBytes } = use
    return { node: this.#with.node, usedBytes, limitBytes: this.#policy.limitOf(use), totalBytes, rssBytes, workers }
  }

  #describe(use: MemoryUse): string {
    const [used, total, limit] = [use.usedBytes, use.totalBytes, this.#policy.limitOf(use)].map((bytes) =>
      formatAmount('memory', bytes),
    )
    return `${used} of ${total} in use, the limit is ${limit}`
  }
}
