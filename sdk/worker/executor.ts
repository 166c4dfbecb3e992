import { NotCloneableError } from '../../protocols/errors.ts'
import { limits } from '../../protocols/limits.ts'
import type { MessageBody, MessageHandlers } from '../../protocols/messages.ts'
import type { TaskResult, TaskSpec } from '../../protocols/task-messages.ts'
import { wireBytes, type WireValue } from '../../protocols/wire-value.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import type { Runtime } from '../runtime/runtime.ts'
import type { CodedValue } from '../values/value-coder.ts'
import { RunRecorder } from './run-recorder.ts'
import { RunningTask, taskStorage } from './running-task.ts'
import { TaskRunner } from './task-runner.ts'

/** After this long in user code without a break, the event loop gets a turn before the next task. */
const sliceMs = 5
/** Results are sent off at least this often, and when there are many. */
const resultDelayMs = 0.5
const resultsPerMessageMax = 256
const resultBytesMax = limits.frameBytesMax / 8
/** A task that waits longer than this for something of its own gives back what is queued behind it. */
const handBackAfterMs = 20

type LeaseStart = MessageBody<'leaseStart'>
type Holds = readonly ObjectRef[] | undefined

/** A task and the refs inside of what it was given, which its owner has lent to this process. */
interface QueuedTask {
  spec: TaskSpec
  holds: Holds[]
}

/** Runs the tasks of this worker, one at a time, in the order in which they come. */
export class Executor {
  readonly #connection: NodeConnection
  readonly #onLease: () => void
  readonly #runner: TaskRunner
  readonly #runtime: Runtime
  readonly #recorder: RunRecorder
  readonly #queue: QueuedTask[] = []
  #lease: LeaseStart | undefined
  #running: RunningTask | undefined
  #isLooping = false
  /** The last task that has begun may not run twice. */
  #wasCareful = false
  /** To be called when the running task has ended. */
  #onEnded: (() => void) | undefined
  #isNeeded = false
  #results: TaskResult[] = []
  /** Refs inside of results: they are to live until those are on their way. */
  #resultHolds: Holds[] = []
  #resultBytes = 0
  #lastSentMs = 0
  #sliceEndMs = 0

  /** @param onLease called when this worker is given to another owner. */
  constructor(connection: NodeConnection, runtime: Runtime, onLease: () => void) {
    this.#onLease = onLease
    this.#connection = connection
    this.#runtime = runtime
    this.#recorder = new RunRecorder(runtime.calls.runs)
    this.#runner = new TaskRunner(runtime, {
      sendItem: (task, index, value) => this.#sendItem(task, index, value),
      beginWait: () => this.beginWait(),
      encodeResult: ({ caller }, value, share, sequence) =>
        this.#held(
          this.#runtime.coder.encode(value, {
            owner: caller,
            sequence,
            inlineBytesMax: Math.min(limits.inlineBytesMax, resultBytesMax / share),
          }),
        ),
      dropResults: (values) => this.#runtime.dropValues(values),
      encodeError: ({ caller }, error) => {
        const wire = this.#held(this.#runtime.encodeError(error, caller))
        this.#recorder.failed(wire, error)
        return wire
      },
    })
  }

  /** The lease that this worker has now. */
  get lease(): LeaseStart | undefined {
    return this.#lease
  }

  handlers(): MessageHandlers {
    return {
      leaseStart: (lease) => {
        this.#lease = lease
        this.#onLease()
      },
      leaseEnd: ({ leaseId }) => {
        if (this.#lease?.leaseId === leaseId && !this.#isLooping) this.#lease = undefined
      },
      taskPush: ({ leaseId, tasks }) => this.#onPush(leaseId, tasks),
      taskCancel: ({ sequence, recursive }) => this.#onCancel(sequence, recursive),
      streamConsumed: ({ sequence, count }) => this.#streamOf(sequence)?.onConsumed(count),
    }
  }

  #streamOf(sequence: number): RunningTask['stream'] {
    return this.#running?.spec.sequence === sequence ? this.#running.stream : undefined
  }

  #onPush(leaseId: number, tasks: TaskSpec[]): void {
    if (leaseId !== this.#lease?.leaseId) return
    const { objects } = this.#runtime
    const { owner } = this.#lease
    for (const spec of tasks) {
      const holds: Holds[] = [objects.adopt(spec.args, owner)]
      for (const { value } of spec.resolved) holds.push(objects.adopt(value, owner))
      this.#queue.push({ spec, holds })
    }
    if (this.#running !== undefined && this.#running.waits > 0) this.#handBack()
    else if (!this.#isLooping) void this.#loop()
  }

  #onCancel(sequence: number, recursive: boolean): void {
    const running = this.#running
    if (running?.spec.sequence === sequence) {
      running.cancel()
      if (recursive) this.#runtime.cancelChildren(running)
      return
    }
    const at = this.#queue.findIndex(({ spec }) => spec.sequence === sequence)
    if (at < 0) return
    this.#queue.splice(at, 1)
    this.#add({ sequence, status: 'cancelled', durationUs: 0, values: [] })
    this.send()
  }

  async #loop(): Promise<void> {
    this.#isLooping = true
    this.#sliceEndMs = performance.now() + sliceMs
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const { spec, holds } = next
      if (spec.isCareful || this.#wasCareful) {
        // Whoever may not run twice must not be taken for begun because results of others are still here, and whoever has
        // must not be taken for unfinished. What has not left this process dies with it.
        this.send()
        const written = this.#connection.written()
        if (written !== undefined) {
          await written
          continue
        }
      }
      this.#wasCareful = spec.isCareful
      this.#queue.shift()
      const task = new RunningTask(spec, this.#lease as LeaseStart, holds, this.#connection.welcome.nodeId)
      this.#running = task
      const outcome = this.#runner.run(task)
      const result = outcome instanceof Promise ? await this.#awaitResult(outcome) : outcome
      this.#running = undefined
      // It may have left a get() behind that nobody awaits.
      if (task.waits > 0 && this.#onEnded === undefined) this.#tellBlocked(false)
      this.#add(result)
      const nowMs = performance.now()
      this.#recorder.ended(task, result, nowMs)
      if (
        spec.isCareful ||
        this.#queue.length === 0 ||
        this.#results.length >= resultsPerMessageMax ||
        this.#resultBytes >= resultBytesMax ||
        nowMs - this.#lastSentMs > resultDelayMs
      ) {
        this.send()
      }
      if (this.#onEnded !== undefined) await this.#tellEnded(this.#onEnded)
      if (nowMs > this.#sliceEndMs) {
        await new Promise(setImmediate)
        this.#sliceEndMs = performance.now() + sliceMs
      }
    }
    this.#isLooping = false
    this.tellNeeded()
    this.#runtime.onIdle()
  }

  async #awaitResult(outcome: Promise<TaskResult>): Promise<TaskResult> {
    this.send()
    // What the task waits for may be behind it in this very queue.
    const timer = setInterval(() => this.#handBack(), handBackAfterMs)
    try {
      return await outcome
    } finally {
      clearInterval(timer)
    }
  }

  #add(result: TaskResult): void {
    let bytes = 0
    for (const value of result.values) bytes += wireBytes(value)
    if (bytes > resultBytesMax * 4) {
      // Large values are in the store by then, so these are references.
      this.#runtime.dropValues(result.values)
      const text = `the results of a task take ${bytes} bytes in their message: there are too many ObjectRefs in them`
      const error = this.#runtime.encodeError(new NotCloneableError(text)).wire
      this.#results.push({ ...result, status: 'error', values: [error] })
      return
    }
    for (const value of result.values) this.#lendToOwner(value)
    this.#results.push(result)
    this.#resultBytes += bytes
  }

  /** Sends the results that are here. */
  send(): void {
    if (this.#results.length > 0 && this.#lease !== undefined) {
      this.#connection.send('taskDone', { leaseId: this.#lease.leaseId, results: this.#results })
      this.#results = []
      this.#resultHolds = []
      this.#resultBytes = 0
    }
    this.#lastSentMs = performance.now()
    this.#connection.flush()
  }

  #held({ wire, holds }: CodedValue): WireValue {
    if (holds !== undefined) this.#resultHolds.push(holds)
    return wire
  }

  /** The owner will keep the refs inside a value that goes to it. */
  #lendToOwner(value: WireValue): void {
    if (this.#lease !== undefined) this.#runtime.objects.lend(value, this.#lease.owner)
  }

  #sendItem(task: RunningTask, index: number, value: WireValue): void {
    if (this.#lease === undefined) {
      this.#runtime.dropValues([value])
      return
    }
    this.#lendToOwner(value)
    const { sequence } = task.spec
    this.#connection.send('streamItem', { leaseId: this.#lease.leaseId, sequence, index, value })
    if (this.#results.length === 0) this.#resultHolds = []
    this.#connection.flush()
  }

  /**
   * The running task waits for others: its CPU is free, and what is queued behind it goes elsewhere, until what is returned
   * is called.
   */
  beginWait(): () => void {
    const task = taskStorage.getStore()
    // Code that a finished task left behind waits on nobody's account.
    if (task === undefined || task !== this.#running) return () => undefined
    if (task.waits++ === 0) {
      this.#handBack()
      this.send()
      this.#tellBlocked(true)
    }
    return () => {
      if (--task.waits === 0 && task === this.#running) this.#tellBlocked(false)
    }
  }

  /** This process is about to end: what is queued has not begun, and goes elsewhere. */
  giveBack(): void {
    this.#handBack()
    this.#tellBlocked(true)
    this.send()
    // A listener of the user's code may keep the process alive.
    setImmediate(() => this.#tellBlocked(this.#running !== undefined && this.#running.waits > 0))
  }

  /**
   * Called in code that a task has left behind and that is to end this process. When another task runs by now, which has no part
   * in that, it may end first, while nothing new begins: true, and `onEnded` is called then.
   */
  afterRunning(onEnded: () => void): boolean {
    const task = taskStorage.getStore()
    const running = this.#running
    if (task === undefined || running === undefined || task === running) return false
    if (this.#onEnded !== undefined) return true
    this.#onEnded = onEnded
    // As if it waited for others without end.
    if (running.waits++ === 0) {
      this.#handBack()
      this.send()
      this.#tellBlocked(true)
    }
    return true
  }

  async #tellEnded(onEnded: () => void): Promise<void> {
    this.send()
    await this.#connection.written()
    onEnded()
    await new Promise(setImmediate)
    // Somebody has kept the process alive.
    this.#onEnded = undefined
    this.#tellBlocked(false)
  }

  /** Tells the node when others begin or cease to need this process, so that it does not end an idle worker too early. */
  tellNeeded(): void {
    const { isNeeded } = this.#runtime
    if (isNeeded === this.#isNeeded) return
    this.#isNeeded = isNeeded
    this.#connection.send('workerNeeded', { isNeeded })
  }

  #tellBlocked(isBlocked: boolean): void {
    if (this.#lease !== undefined) this.#connection.send('leaseBlocked', { leaseId: this.#lease.leaseId, isBlocked })
  }

  #handBack(): void {
    if (this.#queue.length === 0 || this.#lease === undefined) return
    const sequences = this.#queue.splice(0).map(({ spec }) => spec.sequence)
    this.#connection.send('taskHandBack', { leaseId: this.#lease.leaseId, sequences })
  }
}
