import { ObjectStoreFullError, UnreachableError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { BulkStream } from '../../node/network/network.ts'
import type { NearValue } from '../../node/store/near-value.ts'
import type {
  IncomingRoom,
  IncomingSpec,
  MemoryPlace,
  OutgoingValue,
  TransferStore,
} from '../../node/store/transfer-store.ts'
import { Transfers } from '../../node/transfer/transfers.ts'
import { bulkPair, type MemoryStream } from './bulk-pair.ts'

/** A store as transfers see it, in plain memory. */
export class MemoryTransferStore implements TransferStore {
  readonly values = new Map<string, Uint8Array>()
  readonly begun: string[] = []
  /** Copies that are to stay. */
  readonly kept = new Set<string>()
  openRooms = 0
  isFull = false
  /** Where others are told that values lie. */
  place: MemoryPlace | undefined
  /** Values that are given to others, or may be read by them, now. */
  openValues = 0

  has(name: string): boolean {
    return this.values.has(name)
  }

  begin({ name, bytes }: IncomingSpec): Promise<IncomingRoom> {
    if (this.isFull) return Promise.reject(new ObjectStoreFullError('no room', { name }))
    this.begun.push(name)
    this.openRooms += 1
    const memory = new Uint8Array(bytes)
    let isOpen = true
    const close = (): boolean => {
      if (isOpen) this.openRooms -= 1
      const wasOpen = isOpen
      isOpen = false
      return wasOpen
    }
    return Promise.resolve({
      bytes,
      slice: (offset, length) => {
        if (offset < 0 || offset + length > bytes) throw new Error('outside of the room')
        return memory.subarray(offset, offset + length)
      },
      commit: () => {
        if (close()) this.values.set(name, memory)
      },
      abort: () => void close(),
    })
  }

  keep(name: string): boolean {
    this.kept.add(name)
    return this.has(name)
  }

  open(name: string): Promise<OutgoingValue | undefined> {
    const value = this.values.get(name)
    if (value === undefined) return Promise.resolve(undefined)
    this.openValues += 1
    let isOpen = true
    return Promise.resolve({
      bytes: value.length,
      place: this.place,
      read: (offset, length) => Promise.resolve(value.subarray(offset, offset + length)),
      close: () => {
        if (isOpen) this.openValues -= 1
        isOpen = false
      },
    })
  }
}

export interface LabNode {
  readonly id: NodeId
  readonly store: MemoryTransferStore
  readonly transfers: Transfers
  /** Streams that others have opened to it: its own ends. */
  readonly serving: MemoryStream[]
  isDown: boolean
  /** What becomes of the bytes that it sends. */
  send: (bytes: Uint8Array) => Uint8Array[]
}

/** Nodes that pull values from each other, in memory. */
export class TransferLab {
  readonly nodes = new Map<NodeId, LabNode>()
  readonly logs: string[] = []
  readonly #dead = new Set<NodeId>()
  /** What happens before a part is read from the memory of a node: it may fail. */
  beforeNearRead: (from: LabNode, offset: number) => Promise<void> = () => Promise.resolve()
  /** What happens before a stream is opened. */
  beforeOpen: () => void = () => {}
  /** Who is found to have a value. */
  locate: (name: string, signal: AbortSignal) => readonly NodeId[] | Promise<readonly NodeId[]> = () => []

  /** `machine`: nodes with the same one can read each other's memory. */
  add(number: number, stallMs = 500, machine = ''): LabNode {
    const id = number.toString(16).padStart(16, '0')
    const store = new MemoryTransferStore()
    if (machine !== '') store.place = { pid: number, descriptor: 1, offset: 0, generation: 1 }
    const node: LabNode = {
      id,
      store,
      serving: [],
      isDown: false,
      send: (bytes) => [bytes],
      transfers: new Transfers({
        self: id,
        store,
        network: { openBulk: (to) => this.#open(id, to) },
        near: machine === '' ? undefined : { mark: machine, open: (place, name) => this.#openNear(place, name) },
        locate: async (name, signal) => this.locate(name, signal),
        isLinked: (to) => !this.#dead.has(to),
        onAsked: () => {},
        holders: () => [],
        random: Math.random,
        now: () => performance.now(),
        log: (text) => this.logs.push(text),
        stallMs,
      }),
    }
    this.nodes.set(id, node)
    return node
  }

  #openNear({ pid, generation }: MemoryPlace, name: string): Promise<NearValue> {
    const node = this.nodes.get(pid.toString(16).padStart(16, '0')) as LabNode
    const value = node.store.values.get(name)
    if (value === undefined) return Promise.reject(new Error('it is not there'))
    return Promise.resolve({
      read: async (offset, target) => {
        await this.beforeNearRead(node, offset)
        target.set(value.subarray(offset, offset + target.length))
        if (node.store.place?.generation !== generation) throw new Error('it does not lie there any more')
      },
      close: () => Promise.resolve(),
    })
  }

  #open(from: NodeId, to: NodeId): Promise<BulkStream> {
    this.beforeOpen()
    const target = this.nodes.get(to)
    if (target === undefined || target.isDown) return Promise.reject(new UnreachableError(`node ${to} is down`))
    const [mine, theirs] = bulkPair((bytes) => {
      // What a test writes may not be changed afterwards, and a stream may keep it.
      const copy = Uint8Array.from(bytes)
      return target.send(copy)
    })
    target.serving.push(theirs)
    target.transfers.serve(from, theirs)
    return Promise.resolve(mine)
  }

  /** The node dies: all its streams break. */
  kill(node: LabNode): void {
    node.isDown = true
    this.#dead.add(node.id)
    for (const stream of node.serving) stream.abort('the node died')
    for (const other of this.nodes.values()) if (other !== node) other.transfers.nodeGone(node.id)
  }

  close(): void {
    for (const { transfers } of this.nodes.values()) transfers.close()
  }
}
