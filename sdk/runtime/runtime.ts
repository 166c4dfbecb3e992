import { adminValue, type AdminArgs, type AdminCallName, type AdminValue } from '../../protocols/admin.ts'
import {
  GetTimeoutError,
  InvalidArgumentError,
  ObjectLostError,
  UnreachableError,
  type NodeDiedError,
  ShoalError,
  ObjectStoreFullError,
  ObjectUnavailableError,
} from '../../protocols/errors.ts'
import { nodeOf, objectId, type ClientId } from '../../protocols/ids.ts'
import type { MessageBody, MessageHandlers } from '../../protocols/messages.ts'
import type { GroupId } from '../../protocols/placement-groups.ts'
import type { StoredValue, WireValue } from '../../protocols/wire-value.ts'
import { RemoteFunction } from '../api/remote-function.ts'
import type { ResolvedOptions } from '../api/task-options.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { ObjectRef, recordOf } from '../objects/object-ref.ts'
import { classById } from '../shipping/class-registry.ts'
import { NodeStore } from '../store/node-store.ts'
import type { ReadPlace, StoredFacts, StoreLink } from '../store/object-store.ts'
import { liveTasks } from '../tasks/live-tasks.ts'
import { copyableError, shortError } from '../values/copyable-error.ts'
import { ValueCoder, type CodedValue } from '../values/value-coder.ts'
import { FunctionExchange } from './function-exchange.ts'
import { GroupCalls, type GroupDefinition } from './group-calls.ts'
import { ObjectExchange } from './object-exchange.ts'
import { ObjectReader } from './object-reader.ts'
import { references } from './references.ts'
import { ownerDied, Requests } from './requests.ts'
import { StoredValues } from './stored-values.ts'
import { TaskCalls } from './task-calls.ts'
import { WakefulLoop } from './wakeful-loop.ts'
import { Actors } from '../actors/actors.ts'
import { isActorHandle, partsOf, type ActorDescription } from '../actors/actor-handle.ts'
import { RemoteClass } from '../api/remote-class.ts'

/** When others have let go of a worker's objects, it looks after this time for what can be freed. */
const collectAfterMs = 1000
const collectAfterMsMax = 30_000
/** How long the end of a program waits for the last console output. */
const flushTimeoutMs = 2000
/** More than there can be nodes. */
const replicasMax = 0xffff

/** While a worker waits, its driver may stay awake, and the node and another worker do the work. */
const coresOfWork = 3

/** What differs between a driver and a worker. */
export interface RuntimeRole {
  readonly kind: 'driver' | 'worker'
  /** The URL that `import ... from 'shoal'` means in shipped code. */
  readonly sdkUrl: string
  /** The driver at the root of the work that runs now. */
  job(): ClientId
  /** How deep the work that is submitted now is nested: 0 in a driver. */
  depth(): number
  /** The task in which this is called, in a worker. */
  currentTask(): object | undefined
  /** Somebody begins to wait for values of other tasks; what is returned is called when that ends. */
  beginWait(): () => void
  /** The same promise, or one that rejects earlier, when what runs now is cancelled. */
  interruptible<T>(promise: Promise<T>): Promise<T>
  onNodeGone(error: NodeDiedError): void
  /** Sends the results that wait to be sent together. */
  sendResults?(): void
}

/**
 * Everything that one process, driver or worker, does with its node: it owns objects, ships functions, submits tasks.
 * Built here in the order in which the parts need each other.
 */
export class Runtime {
  readonly connection: NodeConnection
  readonly role: RuntimeRole
  readonly coder: ValueCoder
  readonly objects: ObjectExchange
  readonly functions: FunctionExchange
  readonly calls: TaskCalls
  readonly actors: Actors
  readonly reader: ObjectReader
  readonly groups: GroupCalls
  readonly #requests = new Requests()
  readonly #store: NodeStore
  readonly #stored: StoredValues
  readonly #loop: WakefulLoop
  #gone: ShoalError | undefined
  #releaseTimer: NodeJS.Timeout | undefined
  #idleTimer: NodeJS.Timeout | undefined
  #idleMs = collectAfterMs
  #isCollectionNear = false

  constructor(connection: NodeConnection, role: RuntimeRole) {
    this.connection = connection
    this.role = role
    const { welcome, socketPath } = connection
    const { clientId } = welcome
    this.#loop = new WakefulLoop(role.kind === 'worker' ? coresOfWork : 1)
    this.#store = new NodeStore({ welcome, socketPath, link: this.#storeLink() })
    const encodeError = (error: unknown) => this.encodeError(error).wire
    this.#stored = new StoredValues((names) => this.#store.free(names), welcome.storeBytesMax)
    this.objects = new ObjectExchange({
      connection,
      requests: this.#requests,
      encodeError,
      onReleased: () => this.#onReleased(),
      checkLost: (record, name) => this.calls.recovery.check(record, name),
      sendLent: () => role.sendResults?.(),
    })
    this.coder = new ValueCoder({
      store: this.#store,
      clientId,
      onRefEncoded: (ref) => {
        const record = recordOf(ref)
        record.noteUse(ref)
        if (this.objects.isOwn(ref.id)) this.objects.owned.share(record)
      },
      refOf: (id) => {
        const ref = this.objects.acquireRef(id)
        if (this.objects.isOwn(id)) recordOf(ref).noteUse(ref)
        return ref
      },
      describeFunction: (value) =>
        value instanceof RemoteFunction ? this.functions.note(value.describe(this.functions.table)) : undefined,
      functionOf: (id, data) => RemoteFunction.revive(id, data),
      describeRemoteClass: (value) =>
        value instanceof RemoteClass ? this.functions.note(value.describe(this.functions.table)) : undefined,
      remoteClassOf: (id, data) => RemoteClass.revive(id, data),
      describeActor: (value) => (isActorHandle(value) ? partsOf(value) : undefined),
      actorOf: (id, description) => this.actors.revive(id, description as ActorDescription),
      describeClass: (value) => this.functions.describeClass(value),
      classOf: (classId) => classById(classId) as (new () => object) | undefined,
      describeTable: (value) => this.functions.describeTable(value),
      tableOf: (functionId, bytes) => this.functions.tableOf(functionId, bytes),
      loadTableReader: (functionId) => this.functions.loadTableReader(functionId),
      loadClasses: async (ids) => void (await Promise.all(ids.map((id) => this.functions.table.load(id)))),
    })
    this.functions = new FunctionExchange({
      connection,
      requests: this.#requests,
      objects: this.objects,
      coder: this.coder,
      sdkUrl: role.sdkUrl,
      isDriver: role.kind === 'driver',
      encodeError,
    })
    this.calls = new TaskCalls({
      connection,
      role,
      objects: this.objects,
      functions: this.functions.table,
      coder: this.coder,
      stored: this.#stored,
      store: this.#store,
      encodeError,
      replicate: (record, wire, replicas) => this.#replicate(record, wire, replicas),
      cancelOwn: (record, how) => this.cancelOwn(record, how),
      callCounts: () => ({ pending: this.actors.pendingCount, running: this.actors.pushedCount }),
      waiting: (promise) => this.waiting(promise),
    })
    this.actors = new Actors({
      connection,
      requests: this.#requests,
      role,
      objects: this.objects,
      functions: this.functions.table,
      exchange: this.functions,
      read: (ref) => this.#read(ref),
      coder: this.coder,
      calls: this.calls,
      encodeError,
      assertAlive: () => this.#assertAlive(),
    })
    this.reader = new ObjectReader(this.objects, this.calls.recovery)
    this.groups = new GroupCalls({
      connection,
      job: () => role.job(),
      takeSequence: () => this.objects.owned.takeSequence(),
      returnIdle: (group) =>
        this.calls.submitter.returnIdle(({ strategy }) => strategy.kind === 'group' && strategy.group === group),
    })
  }

  /** Handlers of the messages that every process takes; drivers and workers add their own. */
  handlers(): MessageHandlers {
    const objects = this.objects.handlers()
    return {
      ...objects,
      ...this.functions.handlers(),
      ...this.calls.handlers(),
      ...this.groups.handlers(),
      ...this.actors.handlers(),
      leaseGrant: (body) => {
        if (!this.actors.owned.onGrant(body)) this.calls.submitter.onGrant(body)
      },
      leaseRefuse: (body) => {
        if (!this.actors.owned.onRefuse(body)) this.calls.submitter.onRefuse(body)
      },
      leaseLost: ({ leaseId, reason, outOfMemory: [memory], isGroupRemoved }) => {
        const how = { outOfMemory: memory, isGroupRemoved }
        if (!this.actors.owned.onLost(leaseId, reason)) this.calls.submitter.onLost(leaseId, reason, how)
      },
      clientGone: (body) => {
        objects.clientGone?.(body)
        this.actors.clientGone(body.client)
      },
      nodeGone: (body) => {
        // First: whoever asks again because of it is to be believed.
        this.calls.recovery.nodeGone(body.node)
        objects.nodeGone?.(body)
        this.actors.nodeGone(body.node, body.reason)
      },
      undeliverable: ({ requestId, client }) => {
        if (requestId === 0) this.actors.undeliverable(client)
        else this.#requests.fail(requestId, ownerDied(client))
      },
      logFlushed: ({ requestId }) => this.#requests.answer(requestId, undefined),
      adminReply: ({ requestId, reply }) => this.#requests.answer(requestId, reply),
      referencesAsk: ({ requestId }) => {
        const { objects: exchange, calls } = this
        const told = references({
          objects: exchange,
          stored: this.#stored,
          tasks: calls.submitter.tasks,
          lineages: calls.lineages.lineages(),
        })
        this.connection.send('references', { requestId, ...told })
      },
      tasksAsk: ({ requestId }) => {
        const told = liveTasks(this.calls.submitter, this.actors.calls(), performance.now())
        this.connection.send('liveTasks', { requestId, ...told })
      },
      storedOpened: ({ requestId, ...answer }) => this.#requests.answer(requestId, answer),
      storePressure: () => {
        if (this.#mayHaveGarbage()) this.#stored.collectGarbage()
      },
      valuesLeft: ({ names }) => this.#stored.freeUnknown(names),
    }
  }

  /** What the store asks of the node. */
  #storeLink(): Omit<StoreLink, 'allocate'> {
    const { connection } = this
    return {
      stored: ({ sequence, owner, ...facts }: StoredFacts) =>
        connection.send('objectStored', { ...facts, owner, object: sequence === 0 ? '' : objectId(owner, sequence) }),
      abandon: (name) => connection.send('storeAbandon', { name }),
      free: (names) => connection.send('objectFreed', { names: [...names] }),
      open: async ({ sequence, damaged = '', ...value }, signal) => {
        const object = sequence === 0 ? '' : objectId(value.owner, sequence)
        const send = (requestId: number): void =>
          connection.send('storedOpen', { ...value, object, damaged, requestId })
        const answered =
          signal === undefined
            ? this.#requests.ask<StoredAnswer>(undefined, send)
            : this.#requests.askUntil<StoredAnswer>(signal, {
                send,
                cancel: (requestId) => connection.send('storedCancel', { requestId }),
              })
        const answer = await this.waiting(answered)
        const { storeBytesMax } = connection.welcome
        return placeOf(answer, {
          name: value.name,
          bytes: value.bytes,
          storeBytesMax,
          end: signal?.reason as Error | undefined,
        })
      },
    }
  }

  /** A worker that has nothing to do makes no garbage, so its engine would not look for what is free to go. */
  #onReleased(): void {
    if (this.role.kind !== 'worker' || this.#releaseTimer !== undefined) return
    this.#releaseTimer = setTimeout(() => {
      this.#releaseTimer = undefined
      if (this.#mayHaveGarbage()) this.#stored.collectGarbage()
    }, collectAfterMs).unref()
  }

  /** True when something here keeps memory in a store, of this node or another, and may do so for nothing. */
  #mayHaveGarbage(): boolean {
    return this.#stored.attachedCount + this.#store.viewCount + this.objects.borrowingCount > 0
  }

  /**
   * A worker has run its tasks for now. What they have read, put and borrowed is still in its hands until its engine has
   * looked, and keeps its memory in a store meanwhile.
   */
  onIdle(): void {
    this.#idleMs = collectAfterMs
    // One that is idle again and again must come to it, too.
    if (!this.#isCollectionNear) this.#planCollection()
  }

  #planCollection(): void {
    clearTimeout(this.#idleTimer)
    const afterMs = this.#idleMs
    this.#isCollectionNear = this.#mayHaveGarbage() && afterMs === collectAfterMs
    if (!this.#mayHaveGarbage()) return
    this.#idleTimer = setTimeout(() => {
      this.#isCollectionNear = false
      this.#stored.collectGarbage()
      // Some are told a moment later, and some may be kept for good.
      this.#idleMs = Math.min(collectAfterMsMax, afterMs * 2)
      this.#planCollection()
    }, afterMs).unref()
  }

  /** @param replicas on how many nodes a large value is kept */
  put(value: unknown, replicas: number): ObjectRef {
    this.#assertAlive()
    const record = this.objects.owned.create()
    const { wire, holds } = this.coder.encode(value, { sequence: record.sequence })
    this.#stored.attach(record, wire)
    record.lineage = 'put'
    record.settle(wire, holds)
    this.#replicate(record, wire, replicas)
    return new ObjectRef(record)
  }

  /** Has a large value of this process kept on so many nodes. */
  #replicate(record: ObjectRecord, wire: WireValue, replicas: number): void {
    if (replicas === 1 || wire.kind !== 'stored' || wire.isError) return
    const { name, bytes } = wire
    const copies = Math.min(replicas, replicasMax)
    this.connection.send('storedReplicate', { name, bytes, object: record.id, copies })
  }

  /** True when the value can be read without another node. What was written here is here, or else the disk has lost it. */
  isHere(value: WireValue): boolean {
    if (value.kind === 'inline') return true
    const { name, bytes } = value
    return nodeOf(name) === this.connection.welcome.nodeId || this.#store.isHere(name, bytes)
  }

  /** Has a value brought to this node. Rejects when it cannot be had, and with the signal's reason. */
  bring({ name, bytes, ...whose }: StoredValue, signal: AbortSignal): Promise<void> {
    return this.#store.bring(name, bytes, whose, 'wait', signal)
  }

  /** Submits a call of a remote function: gives a ref, refs or a stream. */
  call(remote: RemoteFunction, args: readonly unknown[], options: ResolvedOptions): unknown {
    this.#assertAlive()
    return this.calls.call(remote, args, options)
  }

  /** Makes a placement group, which begins to look for its nodes. */
  createGroup(definition: GroupDefinition): GroupId {
    this.#assertAlive()
    return this.groups.create(definition)
  }

  /** Asks the node about its mesh. Rejects with the error that it answers with. */
  async admin<N extends AdminCallName>(name: N, args: AdminArgs<N>): Promise<AdminValue<N>> {
    this.#assertAlive()
    const reply = await this.waiting(
      this.#requests.ask<unknown>(undefined, (requestId) =>
        this.connection.send('adminCall', { requestId, name, args }),
      ),
    )
    return adminValue(name, reply)
  }

  /** Cancels the task that makes the object, whoever owns it. Throws InvalidArgumentError for force with a call of an actor. */
  cancel(record: ObjectRecord, how: { force: boolean; recursive: boolean }): void {
    const { name, call } = record.task ?? {}
    if (how.force && call !== undefined) {
      throw new InvalidArgumentError(
        `${name} is a call of an actor, and force would end the actor with all its other calls: cancel(ref) without force cancels the call, and kill(actor) ends the actor`,
        { option: 'force', call: name, actor: call.actor },
      )
    }
    if (record.value !== undefined) return
    if (record.owner === this.connection.welcome.clientId) this.cancelOwn(record, how)
    else this.connection.send('taskCancelOwned', { ...this.objects.address(record.id), object: record.id, ...how })
  }

  /** Cancels the task, or the call of an actor, that makes an object of this process. */
  cancelOwn(record: ObjectRecord, how: { force: boolean; recursive: boolean }): void {
    const { task } = record
    if (task?.call === undefined) this.calls.cancel(record, how)
    else this.actors.cancel(task, how.recursive)
  }

  /** Cancels what a task that runs here has submitted: tasks, and calls of actors. */
  cancelChildren(parent: object): void {
    this.calls.submitter.cancelChildren(parent)
    this.actors.cancelChildren(parent)
  }

  /**
   * Keeps the process alive, and tells a worker's node that its CPU is free, until the promise is settled, or until the
   * task that waits is cancelled.
   */
  async waiting<T>(promise: Promise<T>): Promise<T> {
    const endWait = this.role.beginWait()
    this.#loop.begin()
    try {
      return await this.role.interruptible(promise)
    } finally {
      this.#loop.end()
      endWait()
    }
  }

  /** Waits until the record has a value. */
  ready(record: ObjectRecord): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    record.whenReady(resolve)
    return this.waiting(promise)
  }

  #read(ref: ObjectRef): Promise<unknown> {
    return this.reader.read(recordOf(ref), {
      decode: (wire) => this.coder.decode(wire, 'args'),
      ready: (record) => new Promise((resolve) => record.whenReady(resolve)),
    })
  }

  /** Objects of this process that were lost and made again, and those that could not be made again. */
  get recoveries(): { recovered: number; failed: number } {
    return { ...this.calls.recovery.counters }
  }

  /** @param owner who will own the error, if it is so large that it goes into the store. */
  encodeError(error: unknown, owner?: ClientId): CodedValue {
    try {
      return this.coder.encode(error, { isError: true, owner })
    } catch {
      return this.#encodeWhatCanTravel(error, owner)
    }
  }

  /** An error must arrive, also when the store has no room for a large one. */
  #encodeWhatCanTravel(error: unknown, owner: ClientId | undefined): CodedValue {
    const canCopy = (value: unknown): boolean => this.coder.canEncode(value)
    try {
      return this.coder.encode(copyableError(error, canCopy), { isError: true, owner })
    } catch {
      return this.coder.encode(shortError(error, canCopy), { isError: true, owner })
    }
  }

  /** Lets go of values that were made for others but will not be sent. */
  dropValues(values: readonly WireValue[]): void {
    for (const value of values) if (value.kind === 'stored') this.#stored.free(value.name)
  }

  /** True while others need this process: for objects or placement groups of its, or tasks that it has submitted. */
  get isNeeded(): boolean {
    return (
      this.objects.owned.borrowedCount + this.calls.submitter.pendingCount + this.groups.ownCount > 0 ||
      this.actors.isNeeded
    )
  }

  /** The node is gone: everything that waits fails now. */
  onClosed(error: NodeDiedError): void {
    this.#end(error)
    this.objects.failAll(error)
    this.role.onNodeGone(error)
  }

  #end(error: ShoalError): void {
    this.#gone ??= error
    this.calls.close()
    this.#store.disconnect(error)
    this.calls.submitter.failAll(error)
    this.actors.failAll(error)
    this.#requests.failAll(error)
    this.groups.failAll(error)
  }

  #assertAlive(): void {
    if (this.#gone !== undefined) throw this.#gone
  }

  /** Waits until the console output of tasks that have ended is here. */
  async flushLogs(): Promise<void> {
    if (this.#gone !== undefined) return
    const flushed = this.#requests.ask<void>(undefined, (requestId) => this.connection.send('logFlush', { requestId }))
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, flushTimeoutMs)
    await this.waiting(Promise.race([flushed, late]))
    clearTimeout(timer)
  }

  async close(error: ShoalError): Promise<void> {
    this.#end(error)
    try {
      await this.functions.table.close()
      await this.actors.linesEnded()
      await this.connection.close()
    } finally {
      this.#store.close()
    }
  }
}

type StoredAnswer = Omit<MessageBody<'storedOpened'>, 'requestId'>

interface OpenQuestion {
  readonly name: string
  readonly bytes: number
  readonly storeBytesMax: number
  /** Why the program waits no more, if that is so. */
  readonly end: Error | undefined
}

/** Where the value can be read. Throws the error that the node has answered with, or what has ended the wait. */
function placeOf(answer: StoredAnswer, { name, bytes, storeBytesMax, end }: OpenQuestion): ReadPlace {
  const { kind, offset, generation, file, crc, code, message } = answer
  if (kind === 'memory') return { in: 'memory', offset, generation }
  if (kind === 'file') return { in: 'file', file, offset, crc }
  const details = { name, bytes }
  const full =
    code === 'OBJECT_STORE_FULL'
      ? new ObjectStoreFullError(message, details, { retryable: bytes <= storeBytesMax })
      : undefined
  if (end !== undefined) {
    if (end instanceof GetTimeoutError) end.cause ??= full
    throw end
  }
  if (full !== undefined) throw full
  if (code === 'OBJECT_LOST') throw new ObjectLostError(message, details)
  if (code === 'UNREACHABLE') throw new UnreachableError(message, { details })
  if (code === 'OBJECT_UNAVAILABLE' || code === '') throw new ObjectUnavailableError(message, details)
  throw new ShoalError(code, message, { details })
}
