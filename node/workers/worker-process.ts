import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import type { OutOfMemoryDetails } from '../../protocols/out-of-memory.ts'
import { gpuEnvironment, type GpuVendor } from '../resources/gpu-visibility.ts'
import type { Client } from '../server/client.ts'
import { heapLimit } from '../system/heap-limit.ts'

export interface WorkerStart {
  workerId: number
  envKey: string
  envVars: Readonly<Record<string, string>>
  gpuIds: readonly number[]
}

export interface WorkerProcessOptions {
  start: WorkerStart
  entry: string
  socketPath: string
  compileCacheDirectory: string | undefined
  startMs: number
  gpuVendor: GpuVendor | undefined
  log(text: string): void
  /**
   * Ends a process group.
   * @default the system's signal
   */
  killGroup?: (pid: number) => void
  /** Told once, when the process is gone and what it had sent and printed has been read. */
  onExit(worker: WorkerProcess, exit: ProcessExit): void
}

/** `crash`: a fault of its own. `outside`: somebody else's signal. `other`: the node wanted it, or it just ended. */
export interface ProcessExit {
  reason: string
  kind: 'crash' | 'outside' | 'other'
}

/** What a dead worker's open ends may take to close; a process that it has started may hold its pipes for ever. */
const drainMs = 1_000
const stderrTailChars = 2_000
/** From -1000, never, to 1000, first of all. */
const oomScore = 900
/** Those that a process brings on itself. */
const crashSignals = new Set(['SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV', 'SIGSYS', 'SIGTRAP'])

/** One worker process, from its start to the moment when nothing more can come from it. */
export class WorkerProcess {
  readonly start: WorkerStart
  readonly startedAt = Date.now()
  readonly child: ChildProcess
  /** By which the node knows the marks that the worker puts into its output. */
  readonly outputToken = randomBytes(8).toString('hex')
  /** Its connection, once it has said hello; stays known when it is closed. */
  client: Client | undefined
  readonly #options: WorkerProcessOptions
  #startTimer: NodeJS.Timeout
  #drainTimer: NodeJS.Timeout | undefined
  #killReason: string | undefined
  #outOfMemory: OutOfMemoryDetails | undefined
  #isKilled = false
  #exit: ProcessExit | undefined
  #isDisconnected = false
  #isOutputClosed = false
  #isDone = false
  #stderrTail = ''
  #isOutOfReach = false

  constructor(options: WorkerProcessOptions) {
    this.#options = options
    this.start = options.start
    // A process group of its own, so that a kill takes along what the user's code has started.
    const env = workerEnvironment(options, this.outputToken)
    this.child = spawn(process.execPath, [...heapLimit(env), options.entry], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
    })
    if (this.pid !== 0) endFirst(this.pid)
    this.child.once('error', (error) => {
      this.#onExit({ reason: `could not be started: ${error.message}`, kind: 'other' })
    })
    this.child.once('exit', (code, signal) => {
      if (signal === null) this.#onExit({ reason: `exit code ${code}`, kind: code === 0 ? 'other' : 'crash' })
      else if (crashSignals.has(signal)) this.#onExit({ reason: `signal ${signal}`, kind: 'crash' })
      else this.#onExit({ reason: `signal ${signal}`, kind: this.#isKilled ? 'other' : 'outside' })
    })
    this.child.once('close', () => {
      this.#isOutputClosed = true
      this.#finishWhenDrained()
    })
    this.child.stderr?.on('data', this.#onStderr)
    this.#startTimer = setTimeout(() => this.kill(`it did not report within ${options.startMs} ms`), options.startMs)
  }

  get workerId(): number {
    return this.start.workerId
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  get isReady(): boolean {
    return this.client !== undefined
  }

  /** It has said hello. */
  connected(client: Client): void {
    clearTimeout(this.#startTimer)
    this.child.stderr?.off('data', this.#onStderr)
    this.client = client
  }

  /** Its connection is closed, and all that came over it has been handled. */
  disconnected(): void {
    this.#isDisconnected = true
    // A worker that hung up is of no more use, even if its process still does something.
    if (this.#exit === undefined) this.kill(undefined)
    this.#finishWhenDrained()
  }

  /** That memory ran out is why it was killed. */
  get outOfMemory(): OutOfMemoryDetails | undefined {
    return this.#outOfMemory
  }

  /** Kills the process group. The first reason is the one that counts. */
  kill(reason: string | undefined, outOfMemory?: OutOfMemoryDetails): void {
    if (!this.#isKilled && this.#exit === undefined) this.#outOfMemory = outOfMemory
    this.#killReason ??= reason
    this.#isKilled = true
    this.#killGroup()
  }

  readonly #onStderr = (chunk: Buffer): void => {
    this.#stderrTail = (this.#stderrTail + chunk.toString()).slice(-stderrTailChars)
  }

  #onExit(exit: ProcessExit): void {
    if (this.#exit !== undefined) return
    this.#exit = this.#killReason === undefined ? exit : { reason: this.#killReason, kind: 'other' }
    clearTimeout(this.#startTimer)
    // What it had started must not stay behind.
    this.#killGroup()
    if (this.pid === 0) this.#isOutputClosed = true
    this.#drainTimer = setTimeout(() => this.#finish(), drainMs)
    this.#finishWhenDrained()
  }

  #killGroup(): void {
    if (this.pid === 0) return
    try {
      ;(this.#options.killGroup ?? killGroup)(this.pid)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ESRCH') return
      if (code !== 'EPERM') throw error
      // All that is left of it belongs to another user: what the user's code has started through sudo, for instance.
      if (!this.#isOutOfReach) {
        const text = `worker ${this.workerId} has left processes of another user in its process group ${this.pid}, which this node may not end`
        this.#options.log(text)
      }
      this.#isOutOfReach = true
    }
  }

  #finishWhenDrained(): void {
    const isSilent = this.client === undefined || this.#isDisconnected
    if (this.#exit !== undefined && isSilent && this.#isOutputClosed) this.#finish()
  }

  #finish(): void {
    if (this.#isDone || this.#exit === undefined) return
    this.#isDone = true
    clearTimeout(this.#drainTimer)
    const tail = this.isReady ? '' : this.#stderrTail.trim()
    const { reason, kind } = this.#exit
    this.#options.onExit(this, { reason: tail === '' ? reason : `${reason}: ${tail}`, kind })
  }
}

/**
 * Has the system end this process and what it starts before others, the node among them, if memory runs out faster than the
 * node can see to it itself.
 */
function endFirst(pid: number): void {
  writeFile(`/proc/${pid}/oom_score_adj`, String(oomScore)).catch(() => {
    // Another system, or a process that has ended already.
  })
}

function killGroup(pid: number): void {
  process.kill(-pid, 'SIGKILL')
}

function workerEnvironment(options: WorkerProcessOptions, outputToken: string): NodeJS.ProcessEnv {
  const { start, socketPath, compileCacheDirectory, gpuVendor } = options
  const env: NodeJS.ProcessEnv = {
    ...(compileCacheDirectory === undefined ? {} : { NODE_COMPILE_CACHE: compileCacheDirectory }),
    ...process.env,
    ...start.envVars,
    ...gpuEnvironment(start.gpuIds, gpuVendor),
    SHOAL_WORKER_ID: String(start.workerId),
    SHOAL_SOCKET: socketPath,
    SHOAL_OUTPUT_TOKEN: outputToken,
  }
  // A node started inside a test run: its workers are no test files.
  delete env['NODE_TEST_CONTEXT']
  return env
}
