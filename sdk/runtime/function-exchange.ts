import { NotCloneableError, ShoalError } from '../../protocols/errors.ts'
import { nodeOf, ownerOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import { keptBytesMax, type KeptFunction } from '../../protocols/kept-actor.ts'
import type { MessageHandlers } from '../../protocols/messages.ts'
import { wireBytes, type WireValue } from '../../protocols/wire-value.ts'
import { isActorHandle } from '../actors/actor-handle.ts'
import { RemoteClass } from '../api/remote-class.ts'
import { PlacementGroup } from '../api/placement-group.ts'
import { RemoteFunction } from '../api/remote-function.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import { FunctionTable, type AnyFunction } from '../functions/function-table.ts'
import { shownName } from '../functions/shown-name.ts'
import { ObjectRef } from '../objects/object-ref.ts'
import type { ArrowModule } from '../shipping/index.ts'
import { FunctionLoader } from '../shipping/instantiate.ts'
import { blobsOf, type FunctionManifest } from '../shipping/manifest.ts'
import type { ValueCoder } from '../values/value-coder.ts'
import type { ObjectExchange, Received } from './object-exchange.ts'
import type { Requests } from './requests.ts'

export interface FunctionExchangeHost {
  readonly connection: NodeConnection
  readonly requests: Requests
  readonly objects: ObjectExchange
  readonly coder: ValueCoder
  readonly sdkUrl: string
  /** True in a driver, whose classes and functions are the originals. */
  readonly isDriver: boolean
  encodeError(error: unknown): WireValue
}

/** Functions and classes on their way between this process and others. */
export class FunctionExchange {
  readonly table: FunctionTable
  readonly #host: FunctionExchangeHost
  /** What loaded functions close over: for as long as they are loaded, which is as long as this process lives. */
  readonly #heldByFunctions: ObjectRef[] = []
  #noted: Set<ObjectId> | undefined
  /** Apache Arrow, as this program has it. */
  #arrow: ArrowModule | undefined

  constructor(host: FunctionExchangeHost) {
    this.#host = host
    const { connection } = host
    const { clientId, codeDirectory } = connection.welcome
    const loader = new FunctionLoader({ codeDirectory, sdkUrl: host.sdkUrl })
    this.table = new FunctionTable({
      clientId,
      takeSequence: () => host.objects.owned.takeSequence(),
      localFunctionOf: (handle) =>
        handle instanceof RemoteFunction || handle instanceof RemoteClass ? handle.local : undefined,
      isHandle: (value) =>
        value instanceof ObjectRef ||
        value instanceof RemoteFunction ||
        value instanceof RemoteClass ||
        value instanceof PlacementGroup ||
        isActorHandle(value),
      encodeManifest: (manifest) => host.coder.encode(manifest),
      putBlob: (hash, content) => connection.send('blobPut', { hash, content }),
      request: (id) => this.#request(id),
      instantiate: async (id, manifest) => {
        const fn = await loader.instantiate(manifest)
        attachRemote(fn, id)
        return fn
      },
      redescribe: async (value) => {
        const { wire, holds } = host.coder.encode(await host.coder.decode(value))
        return { value: wire, holds }
      },
    })
  }

  handlers(): MessageHandlers {
    const { requests, objects } = this.#host
    return {
      functionGet: (body) => void this.#serve(body.from, body.requestId, body.functionId),
      functionReply: ({ requestId, from, value }) =>
        requests.answer(requestId, { value, holds: objects.adopt(value, from) }),
      blobsReady: ({ requestId, missing }) => requests.answer(requestId, missing),
    }
  }

  /** The class of a user's instance, and the function that ships it; undefined when it has none that can travel. */
  describeClass(value: object): { classId: string; functionId: ObjectId } | undefined {
    const { shipping } = this.table
    const cls = shipping.classOfInstance(value) as AnyFunction | undefined
    const classId = cls === undefined ? undefined : shipping.classId(cls)
    if (cls === undefined || classId === undefined) return undefined
    // A driver's class must travel, and what keeps it from that is an error at the call. A worker's came from elsewhere:
    // whoever gets the instance has it, as a rule, and asks if not.
    const record = this.#host.isDriver ? this.table.ship(cls, shownName(cls)) : this.table.recordOf(cls, shownName(cls))
    return { classId, functionId: record.id }
  }

  /** How a table of Apache Arrow travels: as bytes, and with the function that reads them. Undefined for what is none. */
  describeTable(value: object): { functionId: ObjectId; bytes: Uint8Array } | undefined {
    const { shipping } = this.table
    const arrow = shipping.arrowModuleOf(value)
    if (arrow === undefined) return undefined
    this.#arrow ??= arrow
    const reader = arrow.tableFromIPC as AnyFunction
    const record = this.#host.isDriver ? this.table.ship(reader, reader.name) : this.table.recordOf(reader, reader.name)
    return { functionId: record.id, bytes: arrow.tableToIPC(value) }
  }

  /** The table that was described so; undefined while the function that reads it is not here. */
  tableOf(functionId: ObjectId, bytes: Uint8Array): object | undefined {
    const reader = (this.#arrow?.tableFromIPC as AnyFunction | undefined) ?? this.table.loaded(functionId)
    return reader && this.table.shipping.readTable(reader, bytes)
  }

  /** Makes a function that reads tables ready. What this program has of the package itself comes first. */
  async loadTableReader(functionId: ObjectId): Promise<void> {
    const { shipping } = this.table
    this.#arrow ??= this.#host.isDriver ? shipping.importedArrow(process.argv[1]) : shipping.shippedModule()
    if (this.#arrow === undefined) await this.table.load(functionId)
  }

  /**
   * All that a process needs to have a function, and whatever functions and classes it leads to, when this one and their
   * owners are gone. Rejects with NotCloneableError when something of it belongs to a process.
   */
  async described(ids: Iterable<ObjectId>): Promise<{ functions: KeptFunction[]; blobs: string[] }> {
    const functions = new Map<ObjectId, WireValue>()
    const blobs = new Set<string>()
    const waiting = [...ids]
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (functions.has(next)) continue
      const manifest = await this.#manifestOf(next)
      const { value, named } = this.encodeWhole(manifest, `${manifest.name}, which closes over`)
      functions.set(next, value)
      for (const hash of blobsOf(manifest)) blobs.add(hash)
      waiting.push(...named)
    }
    return { functions: Array.from(functions, ([each, value]) => ({ id: each, value })), blobs: [...blobs] }
  }

  async #manifestOf(id: ObjectId): Promise<FunctionManifest> {
    const isOwn = ownerOf(id) === this.#host.connection.welcome.clientId
    if (!isOwn) return await this.#request(id)
    return (await this.#host.coder.decode((await this.table.serve(id)).value)) as FunctionManifest
  }

  /**
   * A value that outlives this process, all of it in one message, and the functions and classes that it leads to. Throws
   * NotCloneableError when something in it belongs to a process, or it is too large.
   *
   * @param what what has the value, for the message
   */
  encodeWhole(value: unknown, what: string): { value: WireValue; named: ReadonlySet<ObjectId> } {
    const before = this.#noted
    const named = new Set<ObjectId>()
    this.#noted = named
    let wire: WireValue
    try {
      wire = this.#host.coder.encode(value, { inlineBytesMax: Number.POSITIVE_INFINITY }).wire
    } finally {
      this.#noted = before
    }
    if (wire.refs.length > 0) {
      throw new NotCloneableError(
        `a detached actor cannot have ${what} an ObjectRef, or a handle of an actor that is not detached: those end with the program that made them`,
      )
    }
    const bytes = wireBytes(wire)
    if (bytes > keptBytesMax) {
      throw new NotCloneableError(
        `a detached actor cannot have ${what} ${bytes} bytes: at most ${keptBytesMax} are possible, since other nodes keep them, too`,
        { bytes, keptBytesMax },
      )
    }
    for (const id of wire.classes) named.add(id)
    return { value: wire, named }
  }

  /** A value that is being encoded has this function inside. */
  note<T extends { readonly id: ObjectId }>(described: T): T {
    this.#noted?.add(described.id)
    return described
  }

  async #request(id: ObjectId): Promise<FunctionManifest> {
    const { connection, requests, objects, coder } = this.#host
    const given = this.table.given(id)
    if (given !== undefined) {
      const manifest = (await coder.decode(given)) as FunctionManifest
      await this.#awaitBlobs(manifest, connection.welcome.nodeId)
      return manifest
    }
    const { value: answer, holds } = await requests.ask<Received>(ownerOf(id), (requestId) =>
      connection.send('functionGet', { ...objects.address(id), requestId, functionId: id }),
    )
    const value = await coder.decode(answer)
    if (answer.isError) throw value
    const manifest = value as FunctionManifest
    await this.#awaitBlobs(manifest, nodeOf(id))
    if (holds !== undefined) this.#heldByFunctions.push(...holds)
    return manifest
  }

  /** @param node which has those that are missing here */
  async #awaitBlobs(manifest: FunctionManifest, node: NodeId): Promise<void> {
    const { connection, requests } = this.#host
    const missing = await requests.ask<string[]>(undefined, (requestId) =>
      connection.send('blobsWait', { requestId, node, hashes: blobsOf(manifest) }),
    )
    if (missing.length === 0) return
    const text = `${missing.length} of the files of function ${manifest.name} have not arrived`
    throw new ShoalError('CODE_MISSING', text, { retryable: true, details: { missing } })
  }

  async #serve(client: ClientId, requestId: number, id: ObjectId): Promise<void> {
    const { connection, objects } = this.#host
    let value: WireValue
    try {
      value = (await this.table.serve(id)).value
    } catch (error) {
      value = this.#host.encodeError(error)
    }
    objects.lend(value, client)
    connection.send('functionReply', { to: client, from: connection.welcome.clientId, requestId, value })
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
