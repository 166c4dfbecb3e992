import { NodeDiedError, NotInitializedError, ShoalError, TaskError } from '../../protocols/errors.ts'
import { ownerOf, sequenceOf, type ClientId, type ObjectId } from '../../protocols/ids.ts'
import type { MessageHandlers } from '../../protocols/messages.ts'
import type { TaskResult } from '../../protocols/task-messages.ts'
import { wireBytes, type WireValue } from '../../protocols/wire-value.ts'
import { flattenValue, type EncodedValue } from '../../protocols/values/index.ts'
import { RemoteFunction } from '../api/remote-function.ts'
import type { ResolvedOptions } from '../api/task-options.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import { FunctionTable, type AnyFunction } from '../functions/function-table.ts'
import { BorrowedObjects } from '../objects/borrowed-objects.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { ObjectRef, recordOf } from '../objects/object-ref.ts'
import { OwnedObjects } from '../objects/owned-objects.ts'
import { classById } from '../shipping/class-registry.ts'
import { blobsOf, FunctionLoader } from '../shipping/instantiate.ts'
import type { FunctionManifest } from '../shipping/manifest.ts'
import { FileStore } from '../store/file-store.ts'
import { StreamRecord } from '../tasks/stream-record.ts'
import type { TaskRecord } from '../tasks/task-record.ts'
import { TaskSubmitter } from '../tasks/task-submitter.ts'
import { ValueCoder, type CodedValue } from '../values/value-coder.ts'
import { ObjectRefStream } from './object-ref-stream.ts'
import { ownerDied, Requests } from './requests.ts'
import { StoredValues } from './stored-values.ts'

/** What differs between a driver and a worker. */
export interface RuntimeRole {
  readonly kind: 'driver' | 'worker'
  /** The URL that `import ... from 'shoal'` means in shipped code. */
  readonly sdkUrl: string
  /** The driver at the root of the work that runs now. */
  job(): ClientId
  /** How deep the work that runs now is nested: 0 in a driver. */
  depth(): number
  /** The task that runs now, in a worker. */
  currentTask(): number | undefined
  /** Somebody begins, or ends, to wait for values of other tasks. */
  onWait(isBegin: boolean): void
  /** Rejects when what runs now is cancelled. */
  interrupted(): Promise<never> | undefined
  onNodeGone(error: NodeDiedError): void
}

const functionHolder = Symbol.for('shoal.runtime')
type Holder = { [functionHolder]?: Runtime | undefined }

/** The runtime of this process. Throws NotInitializedError before `init()` and after `shutdown()`. */
export function currentRuntime(): Runtime {
  const runtime = (globalThis as Holder)[functionHolder]
  if (runtime === undefined) throw new NotInitializedError()
  return runtime
}

export function setCurrentRuntime(runtime: Runtime | undefined): void {
  ;(globalThis as Holder)[functionHolder] = runtime
}

export function hasRuntime(): boolean {
  return (globalThis as Holder)[functionHolder] !== undefined
}

/** Everything that one process, driver or worker, does with its node: it owns objects, ships functions, submits tasks. */
export class Runtime {
  readonly connection: NodeConnection
  readonly role: RuntimeRole
  readonly clientId: ClientId
  readonly coder: ValueCoder
  readonly functions: FunctionTable
  readonly owned: OwnedObjects
  readonly submitter: TaskSubmitter
  readonly #borrowed: BorrowedObjects
  readonly #requests = new Requests()
  readonly #store: FileStore
  readonly #stored: StoredValues
  readonly #streams = new Map<number, StreamRecord>()
  readonly #servedGets = new Map<string, () => void>()
  #storeCounter = 0
  #gone: ShoalError | undefined

  constructor(connection: NodeConnection, role: RuntimeRole) {
    const { welcome } = connection
    this.connection = connection
    this.role = role
    this.clientId = welcome.clientId
    this.owned = new OwnedObjects(this.clientId)
    this.#store = new FileStore(welcome.storeDirectory, welcome.storeBytesMax)
    this.#stored = new StoredValues((names) => {
      for (const name of names) this.#store.delete(name)
      connection.send('objectFreed', { names })
    })
    this.#borrowed = new BorrowedObjects({
      add: (id) => connection.send('borrowAdd', { ...this.#to(id), object: id, borrower: this.clientId }),
      release: (id, count) => connection.send('borrowRelease', { ...this.#to(id), object: id, count }),
      fetch: (record) => void this.#fetch(record),
    })
    const loader = new FunctionLoader({ codeDirectory: welcome.codeDirectory, sdkUrl: role.sdkUrl })
    this.functions = new FunctionTable({
      clientId: this.clientId,
      takeSequence: () => this.owned.takeSequence(),
      localFunctionOf: (handle) => (handle instanceof RemoteFunction ? handle.local : undefined),
      isHandle: (value) => value instanceof ObjectRef || value instanceof RemoteFunction,
      encodeManifest: (manifest) => this.coder.encode(manifest),
      putBlob: (hash, content) => connection.send('blobPut', { hash, content }),
      request: (id) => this.#requestFunction(id),
      instantiate: async (id, manifest) => {
        const fn = (await loader.instantiate(manifest)) as AnyFunction
        attachRemote(fn, id)
        return fn
      },
    })
    this.coder = new ValueCoder({
      store: this.#store,
      newStoreName: () => this.clientId + (++this.#storeCounter).toString(16).padStart(12, '0'),
      onStored: (name, bytes, owner) =>
        connection.send('objectStored', { name, bytes, owner: owner ?? this.clientId }),
      onRefEncoded: (ref) => {
        if (ownerOf(ref.id) === this.clientId) this.owned.share(recordOf(ref))
      },
      refOf: (id) => new ObjectRef(this.#findOrBorrow(id, 'acquire')),
      describeFunction: (value) => (value instanceof RemoteFunction ? value.describe(this.functions) : undefined),
      functionOf: (id, data) => RemoteFunction.revive(id, data),
      describeClass: (value) => this.#describeClass(value),
      classOf: (classId) => classById(classId) as (new () => object) | undefined,
      loadClasses: async (ids) => void (await Promise.all(ids.map((id) => this.functions.load(id)))),
    })
    this.submitter = new TaskSubmitter(
      {
        requestLease: (requestId, terms, label) =>
          connection.send('leaseRequest', {
            requestId,
            resources: { ...terms.resources },
            envVars: { ...terms.envVars },
            envKey: terms.envKey,
            depth: role.depth(),
            label,
            job: role.job(),
          }),
        cancelRequest: (requestId) => connection.send('leaseCancel', { requestId }),
        returnLease: (leaseId) => connection.send('leaseReturn', { leaseId }),
        killLease: (leaseId, reason) => connection.send('leaseKill', { leaseId, reason }),
        push: (leaseId, tasks) => connection.send('taskPush', { leaseId, tasks }),
        cancelTask: (leaseId, sequence, recursive) =>
          connection.send('taskCancel', { leaseId, sequence, recursive }),
      },
      {
        nowMs: () => performance.now(),
        defer: queueMicrotask,
        after: (delayMs, callback) => void setTimeout(callback, delayMs).unref(),
        settle: (task, result) => this.#settle(task, result),
        fail: (task, error) => this.#failWith(task, this.encodeError(error).wire),
        failWith: (task, error) => this.#failWith(task, error),
        discard: (result) => this.#discard(result),
        isRetriable: (task, error) => this.#isRetriable(task, error),
        moveToStore: (task, value) => this.#moveToStore(task, value),
      },
    )
  }

  /** Handlers of the messages that every process takes; a worker adds its own. */
  handlers(): MessageHandlers {
    const { submitter, owned } = this
    return {
      leaseGrant: (body) => submitter.onGrant(body),
      leaseRefuse: (body) => submitter.onRefuse(body),
      leaseReclaim: ({ leaseId }) => submitter.onReclaim(leaseId),
      leaseLost: ({ leaseId, reason }) => submitter.onLost(leaseId, reason),
      leaseBlocked: ({ leaseId, isBlocked }) => submitter.onBlocked(leaseId, isBlocked),
      taskHandBack: ({ leaseId, sequences }) => submitter.onHandBack(leaseId, sequences),
      taskDone: ({ leaseId, results }) => submitter.onDone(leaseId, results),
      streamItem: (item) => this.#onStreamItem(item.sequence, item.index, item.value),
      objectGet: (body) => this.#serveObject(body.from, body.requestId, body.object),
      objectGetCancel: ({ from, requestId }) => this.#servedGets.get(`${from}${requestId}`)?.(),
      objectReply: ({ requestId, value }) => this.#requests.answer(requestId, value),
      functionGet: (body) => void this.#serveFunction(body.from, body.requestId, body.functionId),
      functionReply: ({ requestId, value, blobs }) => this.#requests.answer(requestId, { value, blobs }),
      undeliverable: ({ requestId, client }) => this.#requests.fail(requestId, ownerDied(client)),
      borrowAdd: ({ object, borrower }) => owned.addBorrower(object, borrower),
      borrowRelease: ({ object, from, count }) => owned.releaseBorrower(object, from, count),
      taskCancelOwned: ({ object, force, recursive }) => owned.find(object)?.producer?.cancel({ force, recursive }),
      blobsReady: ({ requestId, missing }) => this.#requests.answer(requestId, missing),
      logFlushed: ({ requestId }) => this.#requests.answer(requestId, undefined),
      storePressure: () => this.#stored.collectGarbage(),
      clientGone: ({ client }) => this.#onClientGone(client),
    }
  }

  // --- objects

  put(value: unknown): ObjectRef {
    this.#assertAlive()
    const record = this.owned.create()
    const { wire, holds } = this.coder.encode(value)
    this.#attachStored(record, wire)
    record.settle(wire, holds)
    return new ObjectRef(record)
  }

  #attachStored(record: ObjectRecord, wire: WireValue): void {
    if (wire.kind === 'stored') this.#stored.attach(record, wire.name)
  }

  #to(id: ObjectId): { to: ClientId; from: ClientId } {
    return { to: ownerOf(id), from: this.clientId }
  }

  #findOrBorrow(id: ObjectId, how: 'adopt' | 'acquire'): ObjectRecord {
    if (ownerOf(id) !== this.clientId) return this.#borrowed[how](id)
    const record = this.owned.find(id)
    if (record !== undefined) return record
    // Every holder keeps it alive, so this is a ref that was made up, or kept by something that does not count.
    const lost = this.owned.create()
    lost.settle(this.encodeError(new ShoalError('OBJECT_FREED', `the object ${id} has been freed`)).wire)
    return lost
  }

  /** Refs inside a value that was sent to us; its sender has told their owners that we borrow them. */
  adoptContents(wire: WireValue): ObjectRef[] | undefined {
    return wire.refs.length === 0 ? undefined : wire.refs.map((id) => new ObjectRef(this.#findOrBorrow(id, 'adopt')))
  }

  /** Refs inside the arguments of a task: its owner keeps them alive until the task ends, not longer. */
  acquireContents(wire: WireValue): ObjectRef[] | undefined {
    return wire.refs.length === 0 ? undefined : wire.refs.map((id) => new ObjectRef(this.#findOrBorrow(id, 'acquire')))
  }

  /** To be called before a value goes to `receiver`, who will keep it: tells the owners of the refs inside. */
  lendContents(wire: WireValue, receiver: ClientId): void {
    for (const id of wire.refs) {
      const owner = ownerOf(id)
      if (owner === this.clientId) this.owned.addBorrower(id, receiver)
      else if (owner !== receiver) {
        this.connection.send('borrowAdd', { to: owner, from: this.clientId, object: id, borrower: receiver })
      }
    }
  }

  async #fetch(record: ObjectRecord): Promise<void> {
    const owner = ownerOf(record.id)
    try {
      const value = await this.#requests.ask<WireValue>(owner, (requestId) =>
        this.connection.send('objectGet', { ...this.#to(record.id), requestId, object: record.id }),
      )
      record.settle(value, this.adoptContents(value))
    } catch (error) {
      record.settle(this.encodeError(error).wire)
    }
  }

  #serveObject(client: ClientId, requestId: number, id: ObjectId): void {
    const record = this.owned.find(id)
    const reply = (value: WireValue): void => {
      this.lendContents(value, client)
      this.connection.send('objectReply', { to: client, from: this.clientId, requestId, value })
    }
    if (record === undefined) {
      const { wire } = this.encodeError(new ShoalError('OBJECT_FREED', `the object ${id} has been freed`))
      reply(wire)
      return
    }
    const key = `${client}${requestId}`
    const onReady = (): void => {
      this.#servedGets.delete(key)
      reply(record.value as WireValue)
    }
    this.#servedGets.set(key, () => {
      this.#servedGets.delete(key)
      record.forget(onReady)
    })
    record.whenReady(onReady)
  }

  #onClientGone(client: ClientId): void {
    this.owned.dropBorrower(client)
    this.#requests.failClient(client)
    for (const record of this.#borrowed.records(client)) {
      if (record.value === undefined) record.settle(this.encodeError(ownerDied(client)).wire)
    }
    for (const [key, stop] of this.#servedGets) if (key.startsWith(client)) stop()
  }

  // --- functions

  #describeClass(value: object): { classId: string; functionId: ObjectId } | undefined {
    const { shipping } = this.functions
    const cls = shipping.classOfInstance(value) as AnyFunction | undefined
    if (cls === undefined) return undefined
    const classId = shipping.classId(cls)
    if (classId === undefined) return undefined
    // A driver's class must travel, and what keeps it from that is an error at the call. A worker's came from elsewhere:
    // whoever gets the instance has it, as a rule, and asks if not.
    const record = this.role.kind === 'driver' ? this.functions.ship(cls, cls.name) : this.functions.recordOf(cls, cls.name)
    return { classId, functionId: record.id }
  }

  async #requestFunction(id: ObjectId): Promise<FunctionManifest> {
    const owner = ownerOf(id)
    const answer = await this.#requests.ask<{ value: WireValue; blobs: string[] }>(owner, (requestId) =>
      this.connection.send('functionGet', { ...this.#to(id), requestId, functionId: id }),
    )
    const holds = this.adoptContents(answer.value)
    const value = await this.coder.decode(answer.value)
    if (answer.value.isError) throw value
    const missing = await this.#requests.ask<string[]>(undefined, (requestId) =>
      this.connection.send('blobsWait', { requestId, hashes: blobsOf(value as FunctionManifest) }),
    )
    if (missing.length > 0) {
      throw new ShoalError('CODE_MISSING', `${missing.length} code files of a function have not arrived`, {
        retryable: true,
        details: { missing },
      })
    }
    // The function closes over them for as long as it is loaded, which is as long as this process lives.
    if (holds !== undefined) this.#heldByFunctions.push(...holds)
    return value as FunctionManifest
  }

  readonly #heldByFunctions: ObjectRef[] = []

  async #serveFunction(client: ClientId, requestId: number, id: ObjectId): Promise<void> {
    let value: WireValue
    let blobs: readonly string[] = []
    try {
      const served = await this.functions.serve(id)
      value = served.value
      blobs = served.blobs
    } catch (error) {
      value = this.encodeError(error).wire
    }
    this.lendContents(value, client)
    this.connection.send('functionReply', { to: client, from: this.clientId, requestId, value, blobs: [...blobs] })
  }

  // --- tasks

  /** Submits a call. Throws what can be known at once: a function or an argument that cannot travel. */
  submit(remote: RemoteFunction, args: readonly unknown[], options: ResolvedOptions): unknown {
    this.#assertAlive()
    const target = remote.prepare(this.functions)
    const streams = (options.numReturns ?? (remote.isGenerator ? 'streaming' : 1)) === 'streaming'
    const returnCount = streams ? 0 : typeof options.numReturns === 'number' ? options.numReturns : 1
    const coded = this.#encodeArguments(args)
    const returns: ObjectRecord[] = []
    for (let i = 0; i < returnCount; i++) returns.push(this.owned.create())
    const stream = streams ? new StreamRecord() : undefined
    const task: TaskRecord = {
      sequence: returns[0] === undefined ? this.owned.takeSequence() : sequenceOf(returns[0].id),
      name: options.name ?? target.name,
      function: target,
      terms: options.terms,
      args: coded.wire,
      argsBytes: wireBytes(coded.wire),
      holds: coded.holds,
      resolvedRefs: coded.resolvedRefs,
      returns,
      stream,
      retryExceptions: options.retryExceptions,
      parentSequence: this.role.currentTask(),
      retriesLeft: options.maxRetries,
      attempt: 0,
      state: 'waiting',
      leaseId: undefined,
      isCancelled: false,
    }
    const producer = {
      name: task.name,
      cancel: (how: { force: boolean; recursive: boolean }) => this.submitter.cancel(task, how),
    }
    for (const record of returns) record.producer = producer
    if (stream !== undefined) this.#streams.set(task.sequence, stream)
    this.submitter.submit(task)
    if (stream !== undefined) return this.#openStream(task, stream)
    const refs = returns.map((record) => new ObjectRef(record))
    return options.numReturns === undefined || options.numReturns === 1 ? refs[0] : refs
  }

  #encodeArguments(args: readonly unknown[]): CodedValue & { resolvedRefs: TaskRecord['resolvedRefs'] } {
    let resolvedRefs: { position: number; ref: ObjectRef }[] | undefined
    let plain: unknown[] | undefined
    for (let position = 0; position < args.length; position++) {
      const ref = args[position]
      if (!(ref instanceof ObjectRef)) continue
      plain ??= [...args]
      plain[position] = undefined
      ;(resolvedRefs ??= []).push({ position, ref })
    }
    const { wire, holds } = this.coder.encode(plain ?? args)
    return { wire, holds, resolvedRefs: resolvedRefs ?? noResolvedRefs }
  }

  /** Cancels the task that makes the object, whoever owns it. */
  cancel(record: ObjectRecord, how: { force: boolean; recursive: boolean }): void {
    if (record.value !== undefined) return
    if (ownerOf(record.id) === this.clientId) record.producer?.cancel(how)
    else this.connection.send('taskCancelOwned', { ...this.#to(record.id), object: record.id, ...how })
  }

  #settle(task: TaskRecord, result: TaskResult): void {
    this.#freeArguments(task)
    const { status, values } = result
    if (status === 'error' && values[0] !== undefined) {
      this.#spread(task, values[0])
    } else if (status === 'streamEnd') {
      this.#streams.delete(task.sequence)
      task.stream?.finish()
    } else if (status === 'ok' && values.length === task.returns.length) {
      task.returns.forEach((record, i) => this.#settleRecord(record, values[i] as WireValue))
    } else {
      const text = `task ${task.name} gave ${values.length} results where ${task.returns.length} were expected`
      this.#spread(task, this.encodeError(new TaskError(text)).wire)
    }
  }

  /** A result that came after its task was given up: what it holds is let go. */
  #discard(result: TaskResult): void {
    for (const wire of result.values) {
      this.adoptContents(wire)
      if (wire.kind === 'stored') this.#stored.free(wire.name)
    }
  }

  #settleRecord(record: ObjectRecord, wire: WireValue): void {
    this.#attachStored(record, wire)
    record.settle(wire, this.adoptContents(wire))
  }

  #failWith(task: TaskRecord, error: WireValue): void {
    this.#freeArguments(task)
    this.#spread(task, error)
  }

  /** One error for all results of a task. */
  #spread(task: TaskRecord, error: WireValue): void {
    this.#streams.delete(task.sequence)
    task.stream?.finish(error)
    for (const record of task.returns) this.#settleRecord(record, error)
  }

  #freeArguments(task: TaskRecord): void {
    if (task.args.kind === 'stored') this.#stored.free(task.args.name)
    for (const name of this.#movedArguments.get(task) ?? []) this.#stored.free(name)
    this.#movedArguments.delete(task)
  }

  readonly #movedArguments = new Map<TaskRecord, string[]>()

  #moveToStore(task: TaskRecord, value: WireValue): WireValue {
    if (value.kind === 'stored') return value
    const parts = flattenValue(value as EncodedValue)
    const name = this.clientId + (++this.#storeCounter).toString(16).padStart(12, '0')
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    this.#store.write(name, parts)
    this.connection.send('objectStored', { name, bytes, owner: this.clientId })
    const names = this.#movedArguments.get(task)
    if (names === undefined) this.#movedArguments.set(task, [name])
    else names.push(name)
    const { isError, refs, classes } = value
    return { kind: 'stored', name, bytes, isError, refs, classes }
  }

  #isRetriable(task: TaskRecord, error: WireValue): boolean {
    const { retryExceptions } = task
    if (typeof retryExceptions === 'boolean') return retryExceptions
    if (error.kind === 'stored') return false
    try {
      const decoded = this.coder.decodeNow(error)
      return retryExceptions.some((errorClass) => decoded instanceof errorClass)
    } catch {
      // Of a class that is not known here, so it is none of those named.
      return false
    }
  }

  // --- streams

  #openStream(task: TaskRecord, stream: StreamRecord): ObjectRefStream<unknown> {
    const { connection } = this
    const { sequence } = task
    return new ObjectRefStream(stream, {
      refOf: (record) => new ObjectRef(record),
      decodeError: (wire) => this.coder.decode(wire),
      consumed: (count) => {
        if (task.leaseId !== undefined) connection.send('streamConsumed', { leaseId: task.leaseId, sequence, count })
      },
      stop: () => this.#stopStream(task, stream),
      wait: <T>(promise: Promise<T>) => this.waiting(promise),
    })
  }

  #stopStream(task: TaskRecord, stream: StreamRecord): void {
    if (stream.end !== undefined) return
    stream.finish()
    stream.discard()
    this.#streams.delete(task.sequence)
    if (task.state === 'pushed' && task.leaseId !== undefined) {
      this.connection.send('streamStop', { leaseId: task.leaseId, sequence: task.sequence })
    } else {
      this.submitter.cancel(task, { force: false, recursive: false })
    }
  }

  #onStreamItem(sequence: number, index: number, value: WireValue): void {
    const stream = this.#streams.get(sequence)
    const record = this.owned.create()
    this.#settleRecord(record, value)
    stream?.add(index, record)
  }

  // --- waiting and ending

  /**
   * Keeps the process alive, and tells a worker's node that its CPU is free, until the promise is settled, or until the
   * task that waits is cancelled.
   */
  async waiting<T>(promise: Promise<T>): Promise<T> {
    this.role.onWait(true)
    const interrupted = this.role.interrupted()
    try {
      return await (interrupted === undefined ? promise : Promise.race([promise, interrupted]))
    } finally {
      this.role.onWait(false)
    }
  }

  encodeError(error: unknown, owner?: ClientId): CodedValue {
    try {
      return this.coder.encode(error, { isError: true, owner })
    } catch (reason) {
      // Something inside cannot be copied; the error's own words still can.
      const { name, message, stack } = error instanceof Error ? error : new Error(String(error))
      const plain = new TaskError(`${name}: ${message}`, {
        details: { name, notCopied: reason instanceof Error ? reason.message : String(reason) },
      })
      if (stack !== undefined) plain.stack = stack
      return this.coder.encode(plain, { isError: true, owner })
    }
  }

  /** The node is gone: everything that waits fails now. */
  onClosed(error: NodeDiedError): void {
    this.#gone = error
    this.submitter.failAll(error)
    this.#requests.failAll(error)
    const { wire } = this.encodeError(error)
    for (const record of this.#borrowed.records()) if (record.value === undefined) record.settle(wire)
    this.role.onNodeGone(error)
  }

  #assertAlive(): void {
    if (this.#gone !== undefined) throw this.#gone
  }

  /** Waits until the console output of tasks that have ended is here. */
  async flushLogs(): Promise<void> {
    if (this.#gone !== undefined) return
    await this.waiting(
      this.#requests.ask<void>(undefined, (requestId) => this.connection.send('logFlush', { requestId })),
    )
  }

  async close(error: ShoalError): Promise<void> {
    this.#gone ??= error
    this.submitter.failAll(error)
    this.#requests.failAll(error)
    await this.functions.close()
    await this.connection.close()
  }
}

/** Inside `remote(function fib(n) { ... })` the name `fib` means the function itself; calling `fib.remote` works, too. */
function attachRemote(fn: AnyFunction, id: ObjectId): void {
  if ('remote' in fn || !Object.isExtensible(fn)) return
  const tag = (fn as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? ''
  const isGenerator = tag.endsWith('GeneratorFunction')
  const handle = RemoteFunction.revive(id, { name: fn.name, isGenerator, options: {} })
  Object.defineProperty(fn, 'remote', { value: handle.remote, configurable: true })
}

const noResolvedRefs: TaskRecord['resolvedRefs'] = []
