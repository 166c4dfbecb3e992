import { nodeOf, type ClientId } from '../../protocols/ids.ts'
import { MemoryRoom } from './memory-room.ts'
import { RoomMaker } from './room-maker.ts'
import { RoomQueue, type Waiting } from './room-queue.ts'
import { SpillBook, spillFileBytes } from './spill-book.ts'
import type { AllocateEvent, SegmentGate, SpillPlace, StoreAction, StoreEvent, StoreFigures } from './store-events.ts'
import { Shelves, type StoredEntry } from './stored-value.ts'
import { StoredValues } from './stored-values.ts'

export interface StoreBookOptions {
  bytesMax: number
  /** False when there is no shared memory: all values lie in files of their own. */
  hasSegment: boolean
  gate: SegmentGate
  spill: SpillPlace | undefined
  /** Memory that has not been needed for so long is given back to the system. @default 60_000 */
  idleMs?: number | undefined
}

/** Over this share of the store programs are asked to let go of what they do not use, and values go to the disk. */
const pressureShare = 0.8
const pressureIntervalMs = 100
/** Programs get so long to let go of values before those are written to the disk. */
const graceMs = 60
/** They had that time and let go of nothing: for so long, what is on the disk is read from there without giving it again. */
const inVainMs = 1000
/** For so long a request waits for room when nothing is under way that could give it any. */
const waitMsMax = 2000
/** A copy can go nowhere but into memory, so it waits longer for programs to let go of what they look at. */
const copyWaitMsMax = 10_000
/** Whatever the disk is doing, a request is answered by then. Programs wait twice as long before they take us for dead. */
const answerMsMax = 30_000

/**
 * What lies in the object store, where, and what goes when room is short: copies of values of other nodes first, then what
 * is on the disk as well; the rest is written to the disk. Knows no memory and no file: it is told what happens, and says
 * what is to be done.
 */
export class StoreBook {
  readonly #options: StoreBookOptions
  readonly #memory: MemoryRoom
  readonly #disk: SpillBook
  readonly #queue = new RoomQueue()
  readonly #values = new StoredValues()
  readonly #shelves = new Shelves()
  readonly #maker: RoomMaker
  readonly #held = new Map<number, StoredEntry>()
  /** Values whose owners are gone and that somebody looks at. */
  readonly #orphans = new Set<StoredEntry>()
  readonly #openers = new Map<string, number[]>()
  #highSinceMs: number | undefined
  #pressureToldMs = -Infinity
  /** When programs last had time to let go of values, and a value was read from the disk all the same. */
  #waitedInVainMs = -Infinity
  #actions: StoreAction[] = []
  readonly counters = { stored: 0, spilledBytes: 0, restoredBytes: 0, copiesDropped: 0, refused: 0 }

  constructor(options: StoreBookOptions) {
    this.#options = options
    this.#memory = new MemoryRoom(options.bytesMax, options.gate, options.idleMs)
    this.#disk = new SpillBook(options.spill)
    this.#maker = new RoomMaker({
      memory: this.#memory,
      gate: options.gate,
      shelves: this.#shelves,
      onDropped: (copy) => {
        this.counters.copiesDropped += 1
        this.#drop(copy, 'dropped')
      },
    })
  }

  /** In memory, with what is being written, and what was freed but is still looked at. */
  get usedBytes(): number {
    return this.#options.hasSegment ? this.#memory.usedBytes : this.#disk.bytes
  }

  /** The end of the shared memory that has ever been in use. */
  get top(): number {
    return this.#memory.top
  }

  get diskBytes(): number {
    return this.#disk.bytes
  }

  get fileCount(): number {
    return this.#disk.fileCount
  }

  get count(): number {
    return this.#values.byName.size
  }

  get entries(): ReadonlyMap<string, Readonly<StoredEntry>> {
    return this.#values.byName
  }

  /** True while a client may be writing a value. */
  isWriting(writer: ClientId): boolean {
    return this.#values.writtenBy(writer).length > 0
  }

  /** True while the value waits for room in memory. */
  isWaiting(name: string): boolean {
    return this.#queue.has(name)
  }

  get diskProblem(): string {
    return this.#disk.problem
  }

  /** True while time alone can change something. */
  get wantsTick(): boolean {
    return this.#queue.size > 0 || this.#memory.hasZombies || this.#orphans.size > 0 || this.#highSinceMs !== undefined
  }

  /** True while there may be memory that nobody needs, now or later. */
  get mayBeIdle(): boolean {
    return this.#memory.mayBeIdle
  }

  step(event: StoreEvent, nowMs: number): StoreAction[] {
    this.#actions = []
    this.#take(event, nowMs)
    this.#queue.serve((waiting) => this.#serveOne(waiting, nowMs))
    this.#relieve(nowMs)
    return this.#actions
  }

  #take(event: StoreEvent, nowMs: number): void {
    switch (event.type) {
      case 'allocate':
        return this.#allocate(event, nowMs)
      case 'abandon':
        return this.#abandon(event.key, event.name)
      case 'seal':
        return this.#seal(event, nowMs)
      case 'wroteFile':
        return this.#wroteFile(event, nowMs)
      case 'free':
        for (const name of event.names) this.#drop(this.#values.get(name), 'freed')
        return
      case 'open':
        return this.#open(event.key, event.name, nowMs)
      case 'hold':
        return this.#hold(event.key, event.name)
      case 'release':
        return this.#release(event.key, nowMs)
      case 'clientLeft':
        return this.#clientLeft(event.client)
      case 'clientGone':
        this.#clientLeft(event.client)
        for (const entry of this.#values.writtenBy(event.client)) this.#stopWriting(entry)
        return
      case 'ownersGone':
        for (const entry of this.#values.ofOwners(event.isGone)) this.#orphan(entry)
        return
      case 'originGone':
        for (const entry of this.#values.byName.values()) {
          if (nodeOf(entry.name) === event.node) this.#keep(entry)
        }
        return
      case 'keep':
        return this.#keep(this.#values.get(event.name))
      case 'spilled':
        return this.#spilled(event.file, event.crcs, nowMs)
      case 'spillFailed':
        return this.#spillFailed(event.file, event.reason, event.isFull, nowMs)
      case 'restored':
        return this.#restored(event.name, nowMs)
      case 'restoreFailed':
        return this.#restoreFailed(event.name, event.reason, event.isLost)
      case 'lookForIdle': {
        const idle = this.#memory.takeIdle(nowMs)
        if (idle !== undefined) this.#actions.push({ type: 'giveBack', ...idle })
        return
      }
      case 'damaged':
        return this.#damaged(event.name, event.file)
      case 'tick':
        this.#memory.sweep()
        for (const entry of this.#orphans) this.#orphan(entry)
    }
  }

  // --- room

  #allocate(event: AllocateEvent, nowMs: number): void {
    // Names are given out once; who uses one twice does not speak the protocol.
    if (this.#values.byName.has(event.name) || this.#queue.has(event.name)) this.#refuse(event)
    else this.#queue.add(event, false, nowMs)
  }

  #abandon(key: number | undefined, name: string): void {
    this.#queue.remove(({ event, isRestore }) => event.key === key && !isRestore)
    const entry = this.#values.written(name, key)
    if (entry !== undefined) this.#stopWriting(entry)
  }

  /** It will not be written after all. */
  #stopWriting(entry: StoredEntry): void {
    entry.isBeingWritten = false
    if (entry.isFreed) this.#settle(entry)
    else this.#drop(entry, 'freed')
  }

  #clientLeft(client: ClientId): void {
    for (const { event } of this.#queue.remove(({ event: { writer } }) => writer === client)) this.#refuse(event)
  }

  /** Gives room, or says that there is none. False when it is to wait. */
  #serveOne(waiting: Waiting, nowMs: number): boolean {
    const { event, isRestore, askedMs, sinceMs } = waiting
    const { bytesMax, hasSegment } = this.#options
    const canFit = hasSegment && event.bytes <= bytesMax
    if (canFit && this.#give(waiting, nowMs, false)) return true
    const mayWait = canFit && nowMs - askedMs < answerMsMax
    const hasGrace = !isRestore || nowMs - this.#waitedInVainMs >= inVainMs
    if (mayWait) {
      this.#startSpilling(event.bytes, nowMs)
      // Programs have just been asked to let go of what they do not use.
      if (this.#disk.isWriting || (hasGrace && nowMs - sinceMs < graceMs)) return false
    }
    // Nothing can be moved out of the way. What was brought here a moment ago goes before somebody is refused.
    if (canFit && this.#give(waiting, nowMs, true)) return true
    if (isRestore) {
      // Who looks at what is in memory may do so for hours.
      if (mayWait && hasGrace) this.#waitedInVainMs = nowMs
      this.#openFromFile(event.name)
      return true
    }
    const file = event.kind === 'copy' ? undefined : this.#disk.ownFile(event.bytes, nowMs)
    if (file !== undefined) {
      this.#values.add(event, nowMs).disk = { file, offset: 0, crc: 0 }
      this.#actions.push({ type: 'placeFile', key: event.key, name: event.name, file })
      return true
    }
    const waitMs = event.kind === 'copy' ? copyWaitMsMax : waitMsMax
    if (mayWait && nowMs - sinceMs < waitMs && this.#disk.isThere) return false
    this.#refuse(event)
    return true
  }

  #give({ event, isRestore }: Waiting, nowMs: number, mayTakeYoung: boolean): boolean {
    const place = this.#maker.take(event.bytes, nowMs, mayTakeYoung)
    if (place === undefined) return false
    const { key, name } = event
    const restored = isRestore ? this.#values.get(name) : undefined
    if (restored?.disk === undefined) {
      this.#values.add(event, nowMs).memory = place
      this.#actions.push({ type: 'place', key, name, place })
    } else {
      restored.memory = place
      restored.isMoving = true
      this.#actions.push({ type: 'restore', name, bytes: restored.bytes, from: restored.disk, place })
    }
    return true
  }

  #refuse({ key, name, bytes, kind }: AllocateEvent): void {
    this.counters.refused += 1
    this.#actions.push({ type: 'refuse', key, name, bytes, kind, figures: this.figures(bytes) })
  }

  figures(wantedBytes = 0): StoreFigures {
    const { bytesMax, gate } = this.#options
    const pinned = gate.pinned()
    let pinnedBytes = this.#memory.zombieBytes
    for (const { memory, bytes, holds } of this.#values.byName.values()) {
      if (memory !== undefined && (holds > 0 || pinned.has(memory.offset))) pinnedBytes += bytes
    }
    return { bytesMax, usedBytes: this.usedBytes, pinnedBytes, disk: this.#disk.problemWith(wantedBytes) }
  }

  // --- values

  #seal({ name, bytes, object, crc, key }: StoreEvent & { type: 'seal' }, nowMs: number): void {
    const entry = this.#values.written(name, key)
    if (entry === undefined) return
    entry.isBeingWritten = false
    if (bytes !== undefined && bytes < entry.bytes) {
      if (entry.memory !== undefined) this.#memory.shrink(entry.memory, entry.bytes, bytes)
      entry.bytes = bytes
    }
    if (entry.isFreed) {
      this.#settle(entry)
      return
    }
    entry.isSealed = true
    entry.object = object
    entry.touchedMs = nowMs
    if (entry.memory !== undefined) this.#options.gate.show(entry.memory, name, entry.bytes)
    else if (entry.disk !== undefined) this.#disk.put(entry, { ...entry.disk, crc })
    this.#nowStored(entry)
  }

  #wroteFile({ name, bytes, owner, object, file }: StoreEvent & { type: 'wroteFile' }, nowMs: number): void {
    if (this.#values.byName.has(name)) return
    const entry = this.#values.add({ type: 'allocate', key: 0, name, bytes, writer: '', owner, kind: 'primary' }, nowMs)
    entry.isBeingWritten = false
    entry.isSealed = true
    entry.object = object
    this.#disk.put(entry, { file, offset: 0, crc: 0 })
    this.#nowStored(entry)
  }

  #nowStored(entry: StoredEntry): void {
    this.counters.stored += 1
    this.#shelves.put(entry)
    const { name, object, kind } = entry
    this.#actions.push({ type: 'stored', name, object, kind })
  }

  /** What could be had again stands for its value from now on. */
  #keep(entry: StoredEntry | undefined): void {
    if (entry?.kind !== 'copy') return
    entry.kind = 'replica'
    this.#shelves.put(entry)
  }

  /** The value is needed no more. What is used of it by somebody goes when that ends. */
  #drop(entry: StoredEntry | undefined, reason: 'freed' | 'dropped' | 'lost'): void {
    if (entry === undefined || entry.isFreed) return
    this.#values.linger(entry)
    this.#shelves.take(entry)
    for (const key of this.#takeOpeners(entry.name)) this.#openFailed(key, entry.name, 'it has been freed')
    if (entry.isSealed) this.#actions.push({ type: 'gone', name: entry.name, object: entry.object, reason })
    this.#settle(entry)
  }

  /** Its owner is gone. What is being looked at stays and can be found, for as long as that. */
  #orphan(entry: StoredEntry): void {
    const isViewed = entry.isSealed && entry.memory !== undefined && this.#options.gate.isPinned(entry.memory.offset)
    if (isViewed && !entry.isFreed) this.#orphans.add(entry)
    else {
      this.#orphans.delete(entry)
      this.#drop(entry, 'freed')
    }
  }

  #end(entry: StoredEntry): void {
    this.#values.end(entry)
    const { memory, bytes } = entry
    entry.memory = undefined
    if (memory !== undefined) this.#memory.retire(memory, bytes)
    const file = this.#disk.drop(entry)
    if (file !== undefined) this.#actions.push({ type: 'deleteFile', file })
  }

  #hold(key: number, name: string): void {
    const entry = this.#values.get(name)
    if (entry === undefined || this.#held.has(key)) return
    this.#held.set(key, entry)
    entry.holds += 1
    this.#shelves.put(entry)
  }

  #release(key: number, nowMs: number): void {
    const entry = this.#held.get(key)
    if (entry === undefined) return
    this.#held.delete(key)
    entry.holds -= 1
    entry.touchedMs = nowMs
    this.#settle(entry)
  }

  /** Something that kept a value has ended. */
  #settle(entry: StoredEntry): void {
    if (!entry.isFreed) this.#shelves.put(entry)
    else if (!entry.isMoving && entry.holds === 0 && !entry.isBeingWritten) this.#end(entry)
  }

  // --- reading

  #open(key: number, name: string, nowMs: number): void {
    const entry = this.#values.get(name)
    if (entry === undefined || !entry.isSealed) {
      this.#openFailed(key, name, 'it is not in the object store')
      return
    }
    entry.touchedMs = nowMs
    if (entry.memory !== undefined) entry.openedMs = nowMs
    if (entry.memory !== undefined && !entry.isMoving) {
      this.#shelves.put(entry)
      this.#actions.push({ type: 'opened', key, name, bytes: entry.bytes, place: { in: 'memory', ...entry.memory } })
      return
    }
    if (entry.memory !== undefined && entry.disk === undefined) {
      // On its way to the disk, and still in memory.
      this.#actions.push({ type: 'opened', key, name, bytes: entry.bytes, place: { in: 'memory', ...entry.memory } })
      return
    }
    const openers = this.#openers.get(name)
    if (openers !== undefined) {
      openers.push(key)
      return
    }
    this.#openers.set(name, [key])
    const { bytes, owner, kind } = entry
    const event = { type: 'allocate', key, name, bytes, writer: '', owner, kind } as const
    this.#queue.add(event, true, nowMs)
  }

  /** There is no room in memory for a value that is on the disk: it is read from there. */
  #openFromFile(name: string): void {
    const entry = this.#values.get(name)
    for (const key of this.#takeOpeners(name)) {
      if (entry?.disk === undefined) this.#openFailed(key, name, 'it is not in the object store')
      else {
        const { bytes, disk } = entry
        this.#actions.push({ type: 'opened', key, name, bytes, place: { in: 'file', ...disk, bytes } })
      }
    }
  }

  #takeOpeners(name: string): number[] {
    const openers = this.#openers.get(name) ?? []
    this.#openers.delete(name)
    this.#queue.remove(({ event, isRestore }) => isRestore && event.name === name)
    return openers
  }

  #openFailed(key: number, name: string, reason: string, isLost = true): void {
    this.#actions.push({ type: 'openFailed', key, name, reason, isLost })
  }

  #restored(name: string, nowMs: number): void {
    const entry = this.#values.moving(name)
    if (entry?.memory === undefined) return
    entry.isMoving = false
    entry.touchedMs = nowMs
    this.counters.restoredBytes += entry.bytes
    if (!entry.isFreed) {
      const { memory, bytes } = entry
      entry.openedMs = nowMs
      this.#options.gate.show(memory, name, bytes)
      for (const key of this.#takeOpeners(name)) {
        this.#actions.push({ type: 'opened', key, name, bytes, place: { in: 'memory', ...memory } })
      }
    }
    this.#settle(entry)
  }

  #restoreFailed(name: string, reason: string, isLost: boolean): void {
    const entry = this.#values.moving(name)
    if (entry?.memory === undefined) return
    entry.isMoving = false
    this.#memory.giveBack(entry.memory, entry.bytes)
    entry.memory = undefined
    for (const key of this.#takeOpeners(name)) this.#openFailed(key, name, reason, isLost)
    if (isLost && !entry.isFreed) this.#drop(entry, 'lost')
    else this.#settle(entry)
  }

  #damaged(name: string, file: string): void {
    const entry = this.#values.get(name)
    // Nothing is lost of what is in memory as well.
    if (entry?.disk?.file === file && entry.memory === undefined) this.#drop(entry, 'lost')
  }

  // --- the disk

  /** Begins to write values to the disk, those used longest ago first; nothing when there is none that may go there. */
  #startSpilling(bytes: number, nowMs: number): void {
    if (!this.#disk.mayTry(nowMs) || this.#disk.isWriting || this.#shelves.dirty.size === 0) return
    const { gate, bytesMax } = this.#options
    const pinned = gate.pinned()
    // What is looked at now would not leave the memory.
    const idle = this.#shelves.dirty.values().filter(({ memory }) => memory !== undefined && !pinned.has(memory.offset))
    const action = this.#disk.begin(idle, Math.max(bytes, Math.min(spillFileBytes, bytesMax / 8)), nowMs)
    if (action === undefined) return
    for (const { name } of action.blocks) {
      const entry = this.#values.get(name) as StoredEntry
      entry.isMoving = true
      this.#shelves.take(entry)
    }
    this.#actions.push(action)
  }

  #spilled(file: string, crcs: readonly number[], nowMs: number): void {
    const batch = this.#disk.written(file, crcs)
    for (const entry of batch) {
      this.counters.spilledBytes += entry.bytes
      entry.isMoving = false
      this.#settle(entry)
    }
    this.#queue.movedOn(nowMs)
  }

  #spillFailed(file: string, reason: string, isFull: boolean, nowMs: number): void {
    for (const entry of this.#disk.notWritten(file, reason, isFull, nowMs)) {
      entry.isMoving = false
      this.#settle(entry)
    }
  }

  /** When the store is filling up, before anybody has to wait. */
  #relieve(nowMs: number): void {
    const { bytesMax } = this.#options
    const level = bytesMax * pressureShare
    // What would make room for them may be on the disk already, and in memory only because it is still being looked at.
    if (this.#queue.size > 0) this.#tellPressure(nowMs)
    if (this.usedBytes <= level) {
      this.#highSinceMs = undefined
      return
    }
    while (this.usedBytes > level && this.#maker.dropCopy(nowMs, false));
    if (this.usedBytes - this.#shelves.cleanBytes <= level) {
      this.#highSinceMs = undefined
      return
    }
    this.#highSinceMs ??= nowMs
    this.#tellPressure(nowMs)
    // Programs that let go of values now and then save the disk much work.
    if (nowMs - this.#highSinceMs >= graceMs) this.#startSpilling(0, nowMs)
  }

  #tellPressure(nowMs: number): void {
    if (nowMs - this.#pressureToldMs < pressureIntervalMs) return
    this.#pressureToldMs = nowMs
    this.#actions.push({ type: 'pressure', usedBytes: this.usedBytes })
  }
}
