import { ActorDiedError, ActorUnavailableError, TaskCancelledError } from '../../protocols/errors.ts'
import type { ActorCall } from '../../protocols/actor-messages.ts'
import type { ClientId, ObjectId } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import type { TaskResult, TaskSpec } from '../../protocols/task-messages.ts'
import { isPlain, wireBytes, type WireValue } from '../../protocols/wire-value.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import { recordOf } from '../objects/object-ref.ts'
import { ArgumentWaits } from '../tasks/argument-waits.ts'
import { TaskQueue } from '../tasks/task-queue.ts'
import { hasArguments, pushBytesMax, sendableSpecOf, type TaskSpecHost } from '../tasks/task-spec.ts'
import type { TaskRecord } from '../tasks/task-record.ts'
import { CallPath } from './call-path.ts'

/** How an actor is, as its owner says. */
export interface ActorStatus {
  readonly state: 'pending' | 'alive' | 'restarting' | 'dead'
  /** The worker that it is on, while it is alive; else ''. */
  readonly worker: ClientId
  readonly incarnation: number
  /** The id under which its worker knows it. */
  readonly target: ObjectId
  readonly reason: string
  /** What calls of a dead one give. */
  readonly error: WireValue | undefined
}

/** Calls on their way to a worker. */
export interface ActorPush {
  worker: ClientId
  /** The id under which the worker knows the actor. */
  target: ObjectId
  /** The id that it has here. */
  handle: ObjectId
  calls: ActorCall[]
  /** Over the line to the worker, not through the node. */
  isDirect: boolean
}

/** What a link needs of its process. */
export interface ActorLinkHost extends TaskSpecHost {
  push(push: ActorPush): void
  cancelCall(worker: ClientId, sequence: number, how: { recursive: boolean; isDirect: boolean }): void
  /** Asks the worker for a line, if it is of this node. */
  meet(worker: ClientId): void
  /** The number of the line to the worker; 0 for none. */
  lineTo(worker: ClientId): number
  /** Sends a fence over the line: the link is told when the worker has read it. Gives its number. */
  fence(worker: ClientId): number
  /** This link does not use the line to the worker any more. */
  hangUp(worker: ClientId): void
  /** Asks the owner how the actor is. */
  watch(actor: ObjectId): void
  /** Calls back once, soon, at the end of what runs now. */
  defer(callback: () => void): void
  /** Calls back after a while; must not keep the process alive. */
  after(delayMs: number, callback: () => void): void
  nowMs(): number
  settle(task: TaskRecord, result: TaskResult, worker: ClientId): void
  discard(result: TaskResult, worker: ClientId | undefined): void
  fail(task: TaskRecord, error: unknown): void
  failAs(task: TaskRecord, error: WireValue): void
  failWith(task: TaskRecord, argument: ObjectRef): void
  isRetriable(task: TaskRecord, error: WireValue): boolean
}

/** Calls that are with the worker and not answered. */
const inFlightMax = 10_000
const inFlightBytesMax = 8 * 1024 * 1024
/** How soon the owner of an actor whose worker cannot be reached is asked again, and how long that goes on. */
const askAgainMs = 100
const askAgainMsMax = 2000
const unreachableMsMax = 15_000
/** When the line to a worker has ended, so soon its owner says that it is gone, or what was under way comes through the node. */
const lineLostMs = 5000

interface InFlight {
  task: TaskRecord
  bytes: number
  /** The number of the line over which it went; 0 for through the node. */
  line: number
  /** Told when it is with the worker no more. */
  onLeft: (() => void) | undefined
}

/**
 * One caller's side of one actor: its calls, in their order, on their way to wherever the actor is. A call goes when all
 * before it have gone. What was with a worker that is gone may have run: it goes again only if its options allow that. Knows
 * no socket and no clock.
 */
export class ActorLink {
  readonly actor: ObjectId
  readonly name: string
  readonly #host: ActorLinkHost
  readonly #queue = new TaskQueue<TaskRecord>()
  readonly #inFlight = new Map<number, InFlight>()
  readonly #waits = new ArgumentWaits()
  readonly #path = new CallPath()
  #inFlightBytes = 0
  /** Of those, calls that went over a line. */
  #directCount = 0
  /** The fence that the worker is to read. */
  #fence: number | undefined
  /** What has been heard of the worker's end, to be acted on when all is read that it has said over its line. */
  #news: (() => void)[] = []
  #status: ActorStatus | undefined
  /** The worker to which what is in flight went. */
  #sentTo: ClientId = ''
  #isPumpPlanned = false
  /** Since when the worker, or the owner, is out of reach though the owner says that the actor is alive. */
  #unreachableSinceMs: number | undefined
  #askAgainMs = askAgainMs
  /** It was out of reach for so long that nobody is asked any more, until somebody calls it. */
  #hasGivenUp = false

  constructor(actor: ObjectId, name: string, host: ActorLinkHost) {
    this.actor = actor
    this.name = name
    this.#host = host
  }

  get status(): ActorStatus | undefined {
    return this.#status
  }

  /** The worker that it talks to; '' for none. */
  get worker(): ClientId {
    return this.#status?.worker ?? ''
  }

  /** Calls that have no result yet. */
  get pendingCount(): number {
    return this.#queue.length + this.#inFlight.size
  }

  get pushedCount(): number {
    return this.#inFlight.size
  }

  /** Calls that have no result yet, those that are with the worker first. */
  *calls(): Generator<TaskRecord> {
    for (const { task } of this.#inFlight.values()) yield task
    for (let at = 0; at < this.#queue.length; at++) yield this.#queue.peek(at) as TaskRecord
  }

  submit(task: TaskRecord): void {
    this.#queue.push(task)
    if (this.#hasGivenUp) {
      this.#hasGivenUp = false
      this.#isUnreachable()
    }
    if (this.#status?.state === 'dead') {
      // Not at once: whoever calls has no refs to the results yet.
      this.#pumpLater()
    } else this.#awaitArguments(task)
  }

  #awaitArguments(task: TaskRecord): void {
    task.state = 'waiting'
    if (task.resolvedRefs.length === 0) {
      task.state = 'queued'
      this.#pumpLater()
      return
    }
    this.#waits.begin(task, (failed) => {
      if (failed === undefined) task.state = 'queued'
      else {
        this.#queue.remove(task)
        this.#finish(task, () => this.#host.failWith(task, failed))
      }
      this.#pumpLater()
    })
  }

  #pumpLater(): void {
    if (this.#isPumpPlanned) return
    this.#isPumpPlanned = true
    this.#host.defer(this.#pump)
  }

  readonly #pump = (): void => {
    this.#isPumpPlanned = false
    if (this.#news.length > 0) return
    const status = this.#status
    if (status?.state === 'dead') {
      this.#failAll(status)
      return
    }
    if (status?.state !== 'alive' || status.worker === '') return
    this.#sentTo = status.worker
    const line = this.#host.lineTo(status.worker)
    let calls: ActorCall[] = []
    let bytes = 0
    // All that go in one turn go the same way.
    let isDirect = false
    let needsFence = false
    for (let task = this.#queue.peek(); task?.state === 'queued'; task = this.#queue.peek()) {
      if (this.#inFlight.size >= inFlightMax || this.#inFlightBytes >= inFlightBytesMax) break
      if (!hasArguments(task)) {
        // One has been lost since; it is being made again.
        this.#awaitArguments(task)
        break
      }
      const way = this.#wayOf(task, line)
      needsFence = way === 'fence'
      if (needsFence || way === 'wait') break
      isDirect = way === 'direct'
      this.#queue.shift()
      const sendable = this.#sendable(task)
      if (sendable === undefined) continue
      const { spec, bytes: size } = sendable
      if (bytes + size > pushBytesMax && calls.length > 0) {
        this.#push(status, calls, isDirect)
        calls = []
        bytes = 0
      }
      calls.push(callOf(task, spec))
      bytes += size
      this.#add({ task, bytes: size, line: isDirect ? line : 0, onLeft: undefined })
      task.state = 'pushed'
    }
    if (calls.length > 0) this.#push(status, calls, isDirect)
    if (needsFence) this.#fence = this.#host.fence(status.worker)
    if (this.#path.takeWish()) this.#host.meet(status.worker)
  }

  /** Undefined when it cannot be sent, and has failed. */
  #sendable(task: TaskRecord): ReturnType<typeof sendableSpecOf> | undefined {
    try {
      return sendableSpecOf(task, this.#host)
    } catch (error) {
      this.#finish(task, () => this.#host.fail(task, error))
      return undefined
    }
  }

  #wayOf(task: TaskRecord, line: number): ReturnType<CallPath['choose']> {
    const direct = this.#directCount
    const underWay = { direct, byNode: this.#inFlight.size - direct }
    return this.#path.choose({ isPlain: line > 0 && isPlainCall(task), line, underWay })
  }

  #push({ worker, target }: ActorStatus, calls: ActorCall[], isDirect: boolean): void {
    this.#host.push({ worker, target, handle: this.actor, calls, isDirect })
  }

  /** The owner has said how the actor is. */
  onStatus(status: ActorStatus): void {
    if (status.worker !== this.#sentTo || this.#news.length > 0) this.#whenRead(() => this.#takeStatus(status))
    else this.#takeStatus(status)
  }

  /**
   * Acts on the end of the worker when what it has said over its line has been read: that may come behind the news, which go
   * through the node. The end of a process ends its line, so that this takes no longer than that.
   */
  #whenRead(act: () => void): void {
    const isToRead = this.#directCount > 0 && this.#host.lineTo(this.#sentTo) > 0
    if (this.#news.length === 0 && !isToRead) {
      act()
      return
    }
    if (this.#news.push(act) > 1) return
    const news = this.#news
    this.#host.after(lineLostMs, () => {
      if (this.#news === news) this.#actOnNews()
    })
  }

  #actOnNews(): void {
    const news = this.#news
    this.#news = []
    for (const act of news) act()
    this.#pumpLater()
  }

  #takeStatus(status: ActorStatus): void {
    const before = this.#status
    if (before?.state === 'dead' || (before !== undefined && status.incarnation < before.incarnation)) return
    this.#status = status
    this.#hasGivenUp = false
    if (status.state === 'dead') {
      this.#failAll(status)
      this.#host.hangUp(this.#sentTo)
      return
    }
    if (status.worker !== this.#sentTo) this.#lost(status.reason === '' ? 'its worker has ended' : status.reason)
    if (before === undefined || status.incarnation > before.incarnation) this.#isReached()
    this.#pumpLater()
  }

  #isReached(): void {
    this.#unreachableSinceMs = undefined
    this.#askAgainMs = askAgainMs
  }

  onDone(worker: ClientId, results: readonly TaskResult[]): void {
    this.#isReached()
    for (const result of results) {
      const task = this.#take(result.sequence)
      if (task === undefined || task.state === 'done') {
        this.#host.discard(result, worker)
        continue
      }
      const [error] = result.values
      const isRetried =
        result.status === 'error' &&
        error !== undefined &&
        task.retriesLeft !== 0 &&
        this.#host.isRetriable(task, error)
      if (isRetried) {
        this.#host.discard(result, worker)
        this.#again([task])
      } else this.#finish(task, () => this.#host.settle(task, result, worker))
    }
    if (this.#news.length > 0 && this.#directCount === 0) this.#actOnNews()
    if (this.#queue.length > 0) this.#pumpLater()
  }

  /** The process that the worker, or the owner, is has ended, or no link leads there any more. */
  onGone(client: ClientId, isUnreachable: boolean): void {
    this.#whenRead(() => this.#workerGone(client, isUnreachable))
  }

  #workerGone(client: ClientId, isUnreachable: boolean): void {
    const status = this.#status
    if (status?.state !== 'alive' || status.worker !== client) return
    // The owner will say what becomes of it, and so of the calls that were there. Until then nothing is sent.
    this.#status = { ...status, state: 'restarting', worker: '' }
    if (!isUnreachable) return
    this.#lost('its node cannot be reached')
    this.#isUnreachable()
  }

  /** Who leads the actor's life is gone, or does not lead it any more: another one does, or will, or nobody. */
  onLeaderGone(reason: string): void {
    this.#whenRead(() => this.#leaderGone(reason))
  }

  #leaderGone(reason: string): void {
    if (this.#status?.state === 'dead') return
    // What another one says counts, whatever this one has said.
    this.#status = undefined
    this.#lost(reason)
    this.#isUnreachable()
  }

  /** Another one leads the actor's life: it counts on its own how often the actor was started. */
  onLeaderChanged(): void {
    // That is no news of the worker, but has its turn among them.
    if (this.#news.length > 0) this.#news.push(() => this.#leaderChanged())
    else this.#leaderChanged()
  }

  #leaderChanged(): void {
    if (this.#status !== undefined && this.#status.state !== 'dead') this.#status = { ...this.#status, incarnation: -1 }
  }

  /** What was sent to the worker has not got there. */
  onUndeliverable(worker: ClientId): void {
    this.#whenRead(() => this.#undeliverable(worker))
  }

  #undeliverable(worker: ClientId): void {
    const status = this.#status
    if (status?.state !== 'alive' || status.worker !== worker) return
    this.#status = { ...status, state: 'restarting', worker: '' }
    // None of it has run, and what went before it is lost as well or will be answered by nobody.
    this.#lost('its worker cannot be reached')
    this.#isUnreachable()
  }

  /** The worker has read a fence: what went over the line before it is there. */
  onFence(worker: ClientId, fence: number): void {
    if (worker !== this.#sentTo || fence !== this.#fence) return
    this.#fence = undefined
    this.#path.passFence()
    this.#pumpLater()
  }

  /** A line to the worker has ended. As a rule its process has, too, and the owner will say so. */
  onLineEnded(worker: ClientId, line: number): void {
    if (worker !== this.#sentTo) return
    this.#path.lineEnded()
    if (this.#news.length > 0) {
      this.#actOnNews()
      return
    }
    const wentOver = (entry: InFlight): boolean => entry.line === line
    if (![...this.#inFlight.values()].some(wentOver)) return
    this.#host.after(lineLostMs, () => {
      if (worker === this.#sentTo) this.#lose('the connection to its worker has ended', wentOver)
    })
  }

  /** Asks again how the actor is, for a while; then what waits fails. */
  #isUnreachable(): void {
    const nowMs = this.#host.nowMs()
    this.#unreachableSinceMs ??= nowMs
    if (nowMs - this.#unreachableSinceMs > unreachableMsMax) {
      this.#isReached()
      this.#hasGivenUp = true
      for (const task of this.#queue.drain()) {
        this.#finish(task, () =>
          this.#host.fail(task, unavailable(task, this.name, 'it could not be reached for long')),
        )
      }
      return
    }
    const afterMs = this.#askAgainMs
    this.#askAgainMs = Math.min(askAgainMsMax, afterMs * 2)
    this.#host.after(afterMs, () => {
      if (this.#status?.state !== 'alive' && this.#status?.state !== 'dead') this.#host.watch(this.actor)
    })
  }

  /** The worker is gone, and the calls that were with it: whether they have run is not known. */
  #lost(reason: string): void {
    this.#host.hangUp(this.#sentTo)
    this.#path.reset()
    this.#lose(reason, () => true)
  }

  #lose(reason: string, isMeant: (entry: InFlight) => boolean): void {
    const again: TaskRecord[] = []
    for (const entry of [...this.#inFlight.values()].filter(isMeant)) {
      const { task } = entry
      this.#take(task.sequence)
      if (task.state === 'done') continue
      if (task.retriesLeft !== 0) again.push(task)
      else {
        this.#finish(task, () => this.#host.fail(task, unavailable(task, this.name, reason)))
      }
    }
    this.#again(again)
  }

  #again(tasks: readonly TaskRecord[]): void {
    for (const task of tasks) {
      if (task.retriesLeft > 0) task.retriesLeft -= 1
      task.attempt += 1
      task.stream?.rewind()
      task.state = 'queued'
    }
    if (tasks.length > 0) this.#queue.unshift(tasks)
    this.#pumpLater()
  }

  /** The call fails with TaskCancelledError at once, wherever it is. */
  cancel(task: TaskRecord, recursive: boolean): void {
    if (task.isCancelled || task.state === 'done') return
    task.isCancelled = true
    if (task.state === 'pushed') {
      const line = this.#inFlight.get(task.sequence)?.line ?? 0
      const isDirect = line > 0 && line === this.#host.lineTo(this.#sentTo)
      this.#host.cancelCall(this.#sentTo, task.sequence, { recursive, isDirect })
    } else {
      this.#queue.remove(task)
      // Others may have waited behind it.
      this.#pumpLater()
    }
    const error = new TaskCancelledError(`the call ${task.name} was cancelled`, { task: task.name })
    this.#finish(task, () => this.#host.fail(task, error))
  }

  /** Cancels the calls that this task has made. */
  cancelChildren(parent: object): void {
    for (const task of [...this.calls()]) if (task.parent === parent) this.cancel(task, true)
  }

  /** Every call fails. */
  failAll(error: unknown): void {
    this.#news = []
    for (const task of this.#drainAll()) this.#finish(task, () => this.#host.fail(task, error))
  }

  #failAll({ error, reason }: ActorStatus): void {
    for (const task of this.#drainAll()) {
      this.#finish(task, () => {
        if (error === undefined) this.#host.fail(task, new ActorDiedError(`actor ${this.name} is dead: ${reason}`))
        else this.#host.failAs(task, error)
      })
    }
  }

  #drainAll(): TaskRecord[] {
    const tasks = [...this.#drainInFlight().map(({ task }) => task), ...this.#queue.drain()]
    return tasks.filter((task) => task.state !== 'done')
  }

  #drainInFlight(): InFlight[] {
    const entries = [...this.#inFlight.values()]
    this.#inFlight.clear()
    this.#inFlightBytes = 0
    this.#directCount = 0
    for (const { onLeft } of entries) onLeft?.()
    return entries
  }

  #add(entry: InFlight): void {
    this.#inFlight.set(entry.task.sequence, entry)
    this.#inFlightBytes += entry.bytes
    if (entry.line > 0) this.#directCount += 1
  }

  #take(sequence: number): TaskRecord | undefined {
    const entry = this.#inFlight.get(sequence)
    if (entry === undefined) return undefined
    this.#inFlight.delete(sequence)
    this.#inFlightBytes -= entry.bytes
    if (entry.line > 0) this.#directCount -= 1
    entry.onLeft?.()
    return entry.task
  }

  /** True while the call is with the worker, though it may have its result here: that it was cancelled. */
  has(sequence: number): boolean {
    return this.#inFlight.has(sequence)
  }

  /** Resolves when the call is not with the worker, as `has` tells it. */
  async left(sequence: number): Promise<void> {
    const entry = this.#inFlight.get(sequence)
    if (entry === undefined) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const before = entry.onLeft
    entry.onLeft = () => {
      before?.()
      resolve()
    }
    await promise
  }

  /** The call that a stream's item belongs to, if it is with that worker. */
  streaming(worker: ClientId, sequence: number): TaskRecord | undefined {
    const task = worker === this.#sentTo ? this.#inFlight.get(sequence)?.task : undefined
    return task?.state === 'done' ? undefined : task
  }

  #finish(task: TaskRecord, settle: () => void): void {
    // The refs that it waits for may be there for long yet.
    if (task.state === 'waiting') this.#waits.end(task)
    task.state = 'done'
    settle()
  }
}

function callOf(task: TaskRecord, spec: TaskSpec): ActorCall {
  return { method: task.call?.method ?? '', group: task.call?.group ?? '', task: spec }
}

/** Small, and without anything that others count. What makes a stream goes through the node, as its items do. */
function isPlainCall({ stream, args, resolvedRefs }: TaskRecord): boolean {
  if (stream !== undefined || !isPlain(args)) return false
  let bytes = 0
  for (const { ref } of resolvedRefs) {
    const { value } = recordOf(ref)
    if (value === undefined || !isPlain(value)) return false
    bytes += wireBytes(value)
  }
  // More might be moved to the store on the way.
  return bytes < limits.inlineBytesMax
}

function unavailable(task: TaskRecord, actor: string, reason: string): ActorUnavailableError {
  return new ActorUnavailableError(
    `the call ${task.name} of actor ${actor} has no result: ${reason}; whether it has run is not known (maxTaskRetries has such calls made again)`,
    { actor, call: task.name, attempt: task.attempt },
  )
}
