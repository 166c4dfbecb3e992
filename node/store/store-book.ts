import { nodeOf, type ClientId } from '../../protocols/ids.ts'
import type { BlockPlace } from '../../protocols/store-segment.ts'
import { MemoryRoom } from './memory-room.ts'
import { RoomQueue, type Waiting } from './room-queue.ts'
import { SpillBook, spillFileBytes } from './spill-book.ts'
import type { AllocateEvent, SegmentGate, SpillPlace, StoreAction, StoreEvent, StoreFigures } from './store-events.ts'
import { Shelves, type StoredEntry } from './stored-value.ts'

export interface StoreBookOptions {
  bytesMax: number
  /** False when there is no shared memory: all values lie in files of their own. */
  hasSegment: boolean
  gate: SegmentGate
  spill: SpillPlace | undefined
}

/** Over this share of the store programs are asked to let go of what they do not use, and values go to the disk. */
const pressureShare = 0.8
const pressureIntervalMs = 200
/** Programs get so long to let go of values before those are written to the disk. */
const graceMs = 60
/** A copy that was asked for a moment ago is about to be read. */
const copyAgeMsMin = 5000
/** Who was told where a value lies has so long to come and read it there. */
const openedMsMin = 100
/** For so long a request waits for room when nothing is under way that could give it any. */
const waitMsMax = 2000
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
  readonly #entries = new Map<string, StoredEntry>()
  readonly #shelves = new Shelves()
  readonly #byOwner = new Map<ClientId, Set<StoredEntry>>()
  /** Freed or dropped, and still in use by the node, or by who writes them. */
  readonly #lingering = new Set<StoredEntry>()
  readonly #held = new Map<number, StoredEntry>()
  readonly #openers = new Map<string, number[]>()
  #highSinceMs: number | undefined
  #pressureToldMs = -Infinity
  #actions: StoreAction[] = []
  readonly counters = { stored: 0, spilledBytes: 0, restoredBytes: 0, copiesDropped: 0, refused: 0 }

  constructor(options: StoreBookOptions) {
    this.#options = options
    this.#memory = new MemoryRoom(options.bytesMax, options.gate)
    this.#disk = new SpillBook(options.spill)
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
    return this.#entries.size
  }

  get entries(): ReadonlyMap<string, Readonly<StoredEntry>> {
    return this.#entries
  }

  get diskProblem(): string {
    return this.#disk.problem
  }

  /** True while time alone can change something. */
  get wantsTick(): boolean {
    return this.#queue.size > 0 || this.#memory.hasZombies || this.#highSinceMs !== undefined
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
        for (const name of event.names) this.#drop(this.#entries.get(name), 'freed')
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
        for (const entry of [...this.#entries.values(), ...this.#lingering]) {
          if (entry.writer === event.client && entry.isBeingWritten) this.#stopWriting(entry)
        }
        return
      case 'ownersGone':
        for (const [owner, entries] of this.#byOwner) {
          if (event.isGone(owner)) for (const entry of [...entries]) this.#drop(entry, 'freed')
        }
        return
      case 'originGone':
        for (const entry of this.#entries.values()) {
          if (entry.kind !== 'copy' || nodeOf(entry.name) !== event.node) continue
          entry.kind = 'replica'
          this.#shelves.put(entry)
        }
        return
      case 'spilled':
        return this.#spilled(event.file, event.crcs, nowMs)
      case 'spillFailed':
        return this.#spillFailed(event.file, event.reason, event.isFull, nowMs)
      case 'restored':
        return this.#restored(event.name, nowMs)
      case 'restoreFailed':
        return this.#restoreFailed(event.name, event.reason, event.isLost)
      case 'tick':
        this.#memory.sweep()
    }
  }

  // --- room

  #allocate(event: AllocateEvent, nowMs: number): void {
    // Names are given out once; who uses one twice does not speak the protocol.
    if (this.#entries.has(event.name) || this.#queue.has(event.name)) this.#refuse(event)
    else this.#queue.add(event, false, nowMs)
  }

  #abandon(key: number, name: string): void {
    this.#queue.remove(({ event, isRestore }) => event.key === key && !isRestore)
    const entry = this.#written(name, key)
    if (entry !== undefined) this.#stopWriting(entry)
  }

  /** The value that was given room by that request, if it is still being written. */
  #written(name: string, key: number | undefined): StoredEntry | undefined {
    const isIt = (entry: StoredEntry | undefined): boolean =>
      entry?.isBeingWritten === true && entry.name === name && (key === undefined || entry.key === key)
    const entry = this.#entries.get(name)
    return isIt(entry) ? entry : [...this.#lingering].find(isIt)
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
    if (mayWait) {
      this.#startSpilling(event.bytes, nowMs)
      // Programs have just been asked to let go of what they do not use.
      if (this.#disk.isWriting || nowMs - sinceMs < graceMs) return false
    }
    // Nothing can be moved out of the way. What was brought here a moment ago goes before somebody is refused.
    if (canFit && this.#give(waiting, nowMs, true)) return true
    const file = event.kind === 'copy' || isRestore ? undefined : this.#disk.ownFile(event.bytes, nowMs)
    if (file !== undefined) {
      this.#create(event, nowMs).disk = { file, offset: 0, crc: 0 }
      this.#actions.push({ type: 'placeFile', key: event.key, name: event.name, file })
      return true
    }
    if (mayWait && nowMs - sinceMs < waitMsMax && this.#disk.isThere) return false
    if (isRestore) this.#openFromFile(event.name)
    else this.#refuse(event)
    return true
  }

  #give({ event, isRestore }: Waiting, nowMs: number, mayTakeYoung: boolean): boolean {
    const place = this.#room(event.bytes, nowMs, mayTakeYoung)
    if (place === undefined) return false
    const { key, name } = event
    const restored = isRestore ? this.#entries.get(name) : undefined
    if (restored?.disk === undefined) {
      this.#create(event, nowMs).memory = place
      this.#actions.push({ type: 'place', key, name, place })
    } else {
      restored.memory = place
      restored.isMoving = true
      this.#actions.push({ type: 'restore', name, bytes: restored.bytes, from: restored.disk, place })
    }
    return true
  }

  #create({ key, name, bytes, writer, owner, kind }: AllocateEvent, nowMs: number): StoredEntry {
    const entry: StoredEntry = {
      name,
      bytes,
      kind,
      writer,
      key,
      owner,
      object: '',
      isSealed: false,
      isBeingWritten: true,
      memory: undefined,
      disk: undefined,
      isMoving: false,
      holds: 0,
      isFreed: false,
      touchedMs: nowMs,
      openedMs: -Infinity,
      sinceMs: nowMs,
    }
    this.#entries.set(name, entry)
    const owned = this.#byOwner.get(owner)
    if (owned === undefined) this.#byOwner.set(owner, new Set([entry]))
    else owned.add(entry)
    return entry
  }

  #refuse({ key, name, bytes }: AllocateEvent): void {
    this.counters.refused += 1
    this.#actions.push({ type: 'refuse', key, name, bytes, figures: this.figures(bytes) })
  }

  figures(wantedBytes = 0): StoreFigures {
    const { bytesMax, gate } = this.#options
    const pinned = gate.pinned()
    let pinnedBytes = this.#memory.zombieBytes
    for (const { memory, bytes, holds } of this.#entries.values()) {
      if (memory !== undefined && (holds > 0 || pinned.has(memory.offset))) pinnedBytes += bytes
    }
    return { bytesMax, usedBytes: this.usedBytes, pinnedBytes, disk: this.#disk.problemWith(wantedBytes) }
  }

  /** Room for a value, for which others are dropped if need be. */
  #room(bytes: number, nowMs: number, mayTakeYoung: boolean): BlockPlace | undefined {
    for (;;) {
      const place = this.#memory.take(bytes)
      if (place !== undefined) return place
      if (!this.#memory.sweep() && !this.#evictOne(nowMs, mayTakeYoung)) return undefined
    }
  }

  #evictOne(nowMs: number, mayTakeYoung: boolean): boolean {
    if (this.#evictCopy(nowMs, mayTakeYoung)) return true
    for (const entry of twice(this.#shelves.clean)) if (this.#leaveMemory(entry, nowMs, mayTakeYoung)) return true
    return false
  }

  #evictCopy(nowMs: number, mayTakeYoung: boolean): boolean {
    for (const entry of twice(this.#shelves.copies)) {
      if (!mayTakeYoung && nowMs - entry.touchedMs < copyAgeMsMin) return false
      if (!this.#leaveMemory(entry, nowMs, mayTakeYoung)) continue
      this.counters.copiesDropped += 1
      this.#drop(entry, 'dropped')
      return true
    }
    return false
  }

  /** Gives the memory of a value back, unless somebody looks at it, or has since it was tried last. */
  #leaveMemory(entry: StoredEntry, nowMs: number, isLastResort: boolean): boolean {
    const { gate } = this.#options
    const { memory, name, bytes } = entry
    if (memory === undefined || nowMs - entry.openedMs < openedMsMin) return false
    if (gate.takeUsed(memory.offset) && !isLastResort) entry.touchedMs = nowMs
    else if (this.#memory.tryToGiveBack(memory, bytes)) {
      entry.memory = undefined
      this.#shelves.put(entry)
      return true
    } else gate.show(memory, name, bytes)
    // Those that can go are found sooner when this one is not the first any more.
    this.#shelves.put(entry)
    return false
  }

  // --- values

  #seal({ name, object, crc, key }: StoreEvent & { type: 'seal' }, nowMs: number): void {
    const entry = this.#written(name, key)
    if (entry === undefined) return
    entry.isBeingWritten = false
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
    if (this.#entries.has(name)) return
    const entry = this.#create({ type: 'allocate', key: 0, name, bytes, writer: '', owner, kind: 'primary' }, nowMs)
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

  /** The value is needed no more. What is used of it by somebody goes when that ends. */
  #drop(entry: StoredEntry | undefined, reason: 'freed' | 'dropped' | 'lost'): void {
    if (entry === undefined || entry.isFreed) return
    entry.isFreed = true
    this.#entries.delete(entry.name)
    this.#shelves.take(entry)
    const owned = this.#byOwner.get(entry.owner)
    owned?.delete(entry)
    if (owned?.size === 0) this.#byOwner.delete(entry.owner)
    for (const key of this.#takeOpeners(entry.name)) this.#openFailed(key, entry.name, 'it has been freed')
    if (entry.isSealed) this.#actions.push({ type: 'gone', name: entry.name, object: entry.object, reason })
    this.#lingering.add(entry)
    this.#settle(entry)
  }

  #end(entry: StoredEntry): void {
    this.#lingering.delete(entry)
    const { memory, bytes } = entry
    entry.memory = undefined
    if (memory !== undefined) this.#memory.retire(memory, bytes)
    const file = this.#disk.drop(entry)
    if (file !== undefined) this.#actions.push({ type: 'deleteFile', file })
  }

  #hold(key: number, name: string): void {
    const entry = this.#entries.get(name)
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
    const entry = this.#entries.get(name)
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
    const entry = this.#entries.get(name)
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

  #openFailed(key: number, name: string, reason: string): void {
    this.#actions.push({ type: 'openFailed', key, name, reason })
  }

  #restored(name: string, nowMs: number): void {
    const entry = this.#moving(name)
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
    const entry = this.#moving(name)
    if (entry?.memory === undefined) return
    entry.isMoving = false
    this.#memory.giveBack(entry.memory, entry.bytes)
    entry.memory = undefined
    for (const key of this.#takeOpeners(name)) this.#openFailed(key, name, reason)
    if (isLost && !entry.isFreed) this.#drop(entry, 'lost')
    else this.#settle(entry)
  }

  #moving(name: string): StoredEntry | undefined {
    const entry = this.#entries.get(name)
    if (entry?.isMoving === true) return entry
    for (const each of this.#lingering) if (each.name === name && each.isMoving) return each
    return undefined
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
      const entry = this.#entries.get(name) as StoredEntry
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
    if (this.usedBytes <= level) {
      this.#highSinceMs = undefined
      return
    }
    while (this.usedBytes > level && this.#evictCopy(nowMs, false));
    if (this.usedBytes - this.#shelves.cleanBytes <= level) {
      this.#highSinceMs = undefined
      return
    }
    this.#highSinceMs ??= nowMs
    if (nowMs - this.#pressureToldMs >= pressureIntervalMs) {
      this.#pressureToldMs = nowMs
      this.#actions.push({ type: 'pressure', usedBytes: this.usedBytes })
    }
    // Programs that let go of values now and then save the disk much work.
    if (nowMs - this.#highSinceMs >= graceMs) this.#startSpilling(0, nowMs)
  }
}

/** The values of a shelf, and those that have been put back once more: what nobody has read meanwhile goes then. */
function* twice(shelf: ReadonlyMap<string, StoredEntry>): Generator<StoredEntry> {
  let left = shelf.size * 2
  for (const entry of shelf.values()) {
    if (left-- === 0) return
    yield entry
  }
}
