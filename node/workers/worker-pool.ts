import { availableParallelism } from 'node:os'
import type { OutOfMemoryDetails } from '../../protocols/out-of-memory.ts'
import type { GpuVendor } from '../resources/gpu-visibility.ts'
import type { EventBook } from '../reports/event-book.ts'
import type { Client } from '../server/client.ts'
import type { Guardian } from './guardian.ts'
import { outputMarker, type Whose } from './output-collector.ts'
import type { OutputRelay } from './output-relay.ts'
import { WorkerProcess, type ProcessExit, type WorkerStart } from './worker-process.ts'
import type { WorkerProgram } from './worker-program.ts'
import type { WorkerStream } from './worker-stream.ts'

export interface WorkerPoolOptions {
  program: Pick<WorkerProgram, 'file'>
  socketPath: string
  compileCacheDirectory: string | undefined
  startMs: number
  /** Whose the GPUs of this node are. */
  gpuVendor: GpuVendor | undefined
  guardian: Guardian
  output: OutputRelay
  events: Pick<EventBook, 'say'>
  log(text: string): void
}

export interface WorkerExit {
  workerId: number
  reason: string
  /** It never became ready. */
  startFailed: boolean
  /** Somebody else's signal has ended it. */
  isOutside: boolean
  /** Its connection, if it had one. */
  client: Client | undefined
  /** It was ended because memory ran out. */
  outOfMemory?: OutOfMemoryDetails | undefined
}

/** Workers that are starting at a time: each keeps a core busy for a while. */
const startsMax = Math.max(4, availableParallelism())

/** The worker processes. When to start and to stop one is not decided here. */
export class WorkerPool {
  readonly #options: WorkerPoolOptions
  readonly #workers = new Map<number, WorkerProcess>()
  readonly #outputs = new Map<number, { stdout: WorkerStream; stderr: WorkerStream }>()
  /** Those that wait until fewer are starting. */
  readonly #toStart: WorkerStart[] = []
  readonly #starting = new Set<number>()
  #closing: (() => void) | undefined
  startedCount = 0
  /** What is known, if the system has ended a worker because memory ran out. Asked when one was killed from outside. */
  systemEnded: () => OutOfMemoryDetails | undefined = () => undefined
  /** Told when a worker is gone for good. */
  onExit: (exit: WorkerExit) => void = () => {}

  constructor(options: WorkerPoolOptions) {
    this.#options = options
  }

  get(workerId: number): WorkerProcess | undefined {
    return this.#workers.get(workerId)
  }

  all(): IterableIterator<WorkerProcess> {
    return this.#workers.values()
  }

  /** Starts a worker, when few others are just starting: many at once would keep each other from it for too long. */
  start(start: WorkerStart): void {
    if (this.#closing !== undefined) return
    this.#toStart.push(start)
    this.#startNext()
  }

  #startNext(): void {
    while (this.#starting.size < startsMax && this.#closing === undefined) {
      const start = this.#toStart.shift()
      if (start === undefined) return
      this.#spawn(start)
    }
  }

  #spawn(start: WorkerStart): void {
    const { guardian, output, program, ...options } = this.#options
    this.startedCount++
    let worker
    try {
      const onExit = (gone: WorkerProcess, exit: ProcessExit): void => this.#onExit(gone, exit)
      worker = new WorkerProcess({ ...options, entry: program.file, start, onExit })
    } catch (error) {
      // An environment variable that no process can have, for instance.
      const reason = `could not be started: ${(error as Error).message}`
      this.#tellNeverStarted(start.workerId, reason)
      return
    }
    this.#workers.set(start.workerId, worker)
    if (worker.pid === 0) return
    this.#starting.add(start.workerId)
    guardian.watch(worker.pid)
    const { pid, outputToken } = worker
    const { stdout, stderr } = worker.child
    if (stdout === null || stderr === null) return
    const marker = outputMarker(outputToken)
    this.#outputs.set(start.workerId, {
      stdout: output.attach(stdout, pid, false, marker),
      stderr: output.attach(stderr, pid, true, marker),
    })
  }

  #tellNeverStarted(workerId: number, reason: string): void {
    const exit = { workerId, reason, startFailed: true, isOutside: false, client: undefined }
    setImmediate(() => this.#closing === undefined && this.onExit(exit))
  }

  #startEnded(workerId: number): void {
    if (this.#starting.delete(workerId)) this.#startNext()
  }

  /** A worker has another lease: what it prints without saying whose it is, is theirs. */
  leased(workerId: number, whose: Whose): void {
    const streams = this.#outputs.get(workerId)
    streams?.stdout.turnTo(whose)
    streams?.stderr.turnTo(whose)
  }

  /** A worker has said hello. Returns what is wrong with it, or undefined. */
  connected(client: Client, workerId: number): string | undefined {
    const worker = this.#workers.get(workerId)
    if (worker === undefined) return `this node has started no worker ${workerId}`
    if (worker.pid !== client.pid) return `worker ${workerId} of this node is another process (pid ${worker.pid})`
    if (worker.isReady) return `worker ${workerId} is connected already`
    worker.connected(client)
    this.#startEnded(workerId)
    const { pid } = worker
    this.#options.events.say('worker', `worker ${workerId} (pid ${pid}) has started`, { pid })
    return undefined
  }

  /** @param outOfMemory what is known, if memory ran out */
  kill(workerId: number, reason: string, outOfMemory?: OutOfMemoryDetails): void {
    const at = this.#toStart.findIndex((start) => start.workerId === workerId)
    if (at === -1) this.#workers.get(workerId)?.kill(reason, outOfMemory)
    else {
      this.#toStart.splice(at, 1)
      this.#tellNeverStarted(workerId, reason)
    }
  }

  /** Kills all workers and waits for their ends. */
  async close(): Promise<void> {
    if (this.#workers.size > 0) {
      const allGone = new Promise<void>((resolve) => (this.#closing = resolve))
      for (const worker of this.#workers.values()) worker.kill('the node stops')
      await allGone
    }
    this.#closing = () => {}
  }

  #sayEnded({ workerId, pid }: WorkerProcess, { reason, kind }: ProcessExit, words: string): void {
    const { events, log } = this.#options
    const text = `worker ${workerId} (pid ${pid}) ended: ${reason.split('\n', 1).join()}`
    log(text)
    const level = kind !== 'other' ? 'error' : isOrdinary(reason) ? 'info' : 'warning'
    events.say('worker', kind === 'crash' && words !== '' ? `${text}; its last words: ${words}` : text, { pid, level })
  }

  #onExit(worker: WorkerProcess, { reason, kind }: ProcessExit): void {
    const { workerId, client } = worker
    const streams = this.#outputs.get(workerId)
    // All that it has printed goes before the news of its end.
    streams?.stdout.flush()
    const words = streams?.stderr.lastWords() ?? ''
    this.#options.guardian.forget(worker.pid)
    this.#workers.delete(workerId)
    this.#outputs.delete(workerId)
    this.#startEnded(workerId)
    if (this.#closing === undefined) {
      // If its connection ended first, the node has sent the same signal after it, for no reason of its own.
      const bySystem = reason === 'signal SIGKILL' ? this.systemEnded() : undefined
      const hasWords = kind === 'crash' && client !== undefined && words !== ''
      this.#sayEnded(worker, { reason, kind }, words)
      this.onExit({
        workerId,
        reason:
          bySystem === undefined
            ? `${reason}${hasWords ? `; its last words: ${words}` : ''}`
            : `node ${bySystem.node} ran out of memory, and its system ended the worker (${reason})`,
        startFailed: client === undefined,
        isOutside: kind === 'outside',
        client,
        outOfMemory: worker.outOfMemory ?? bySystem,
      })
    } else if (this.#workers.size === 0) this.#closing()
  }
}

/** The node stops workers that it does not need. */
function isOrdinary(reason: string): boolean {
  return reason === 'idle' || reason === 'exit code 0' || reason.startsWith('its place is needed')
}
