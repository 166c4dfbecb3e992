import {
  blockBytesOf,
  blockHeaderBytes,
  blocksStart,
  segmentBytesOf,
  type BlockPlace,
} from '../../protocols/store-segment.ts'
import { nodeOf, type ClientId } from '../../protocols/ids.ts'
import { SegmentAllocator } from './segment-allocator.ts'
import type {
  AllocateEvent,
  DiskPlace,
  SegmentGate,
  SpillPlace,
  StoreAction,
  StoreEvent,
  StoreFigures,
} from './store-events.ts'
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
/** Small values go to the disk together, in files of about this size. */
const spillFileBytes = 64 * 1024 * 1024
const spillFileCountMax = 1000
/** For so long a request waits for room when nothing is under way that could give it any. */
const waitMsMax = 2000
/** The disk was full: so long nothing is written there. */
const diskRestMs = 1000

interface Waiting {
  event: AllocateEvent
  /** It is on the disk, and is to be read into memory. */
  isRestore: boolean
  /** When something was last done for it. */
  sinceMs: number
}

/**
 * What lies in the object store, where, and what goes when room is short: copies of values of other nodes first, then what
 * is on the disk as well; the rest is written to the disk. Knows no memory and no file: it is told what happens, and says
 * what is to be done.
 */
export class StoreBook {
  readonly #options: StoreBookOptions
  readonly #allocator: SegmentAllocator
  readonly #entries = new Map<string, StoredEntry>()
  readonly #shelves = new Shelves()
  readonly #byOwner = new Map<ClientId, Set<StoredEntry>>()
  /** Freed or dropped, and still in use by the node. */
  readonly #lingering = new Set<StoredEntry>()
  /** Blocks of such values that views of clients are on, and the bytes of the values. */
  readonly #zombies = new Map<number, number>()
  #waiting: Waiting[] = []
  readonly #openers = new Map<string, number[]>()
  /** How many values each file on the disk has, and the batch that is being written. */
  readonly #files = new Map<string, { entries: Set<StoredEntry>; bytes: number }>()
  #spilling: { file: string; batch: StoredEntry[] } | undefined
  #diskProblem = ''
  #diskRestsUntilMs = -Infinity
  #memoryBytes = 0
  #zombieBytes = 0
  #diskBytes = 0
  #highSinceMs: number | undefined
  #pressureToldMs = -Infinity
  #lastGeneration: number
  #actions: StoreAction[] = []
  readonly counters = { stored: 0, spilledBytes: 0, restoredBytes: 0, copiesDropped: 0, refused: 0 }

  constructor(options: StoreBookOptions, firstGeneration = 1) {
    this.#options = options
    this.#lastGeneration = firstGeneration
    this.#allocator = new SegmentAllocator(blocksStart, segmentBytesOf(options.bytesMax))
  }

  /** In memory, with what is being written, and what was freed but is still looked at. */
  get usedBytes(): number {
    return this.#memoryBytes + this.#zombieBytes + (this.#options.hasSegment ? 0 : this.#diskBytes)
  }

  /** The end of the shared memory that has ever been in use. */
  get top(): number {
    return this.#allocator.top
  }

  get diskBytes(): number {
    return this.#diskBytes
  }

  get fileCount(): number {
    return this.#files.size
  }

  get count(): number {
    return this.#entries.size
  }

  get entries(): ReadonlyMap<string, Readonly<StoredEntry>> {
    return this.#entries
  }

  /** True while a value is being written to the disk, or read from it, even when it has been freed. */
  isMoving(name: string): boolean {
    return this.#moving(name) !== undefined
  }

  /** True while somebody waits for room for it. */
  isWaiting(name: string): boolean {
    return this.#waiting.some(({ event }) => event.name === name)
  }

  get diskProblem(): string {
    return this.#options.spill === undefined ? 'values do not go to the disk here' : this.#diskProblem
  }

  /** True while time alone can change something. */
  get wantsTick(): boolean {
    return this.#waiting.length > 0 || this.#zombies.size > 0 || this.#highSinceMs !== undefined
  }

  step(event: StoreEvent, nowMs: number): StoreAction[] {
    this.#actions = []
    this.#take(event, nowMs)
    this.#serve(nowMs)
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
      case 'hold': {
        const entry = this.#entries.get(event.name)
        if (entry === undefined) return
        entry.holds += 1
        this.#shelves.put(entry)
        return
      }
      case 'release':
        return this.#release(event.name, nowMs)
      case 'clientGone':
        this.#waiting = this.#waiting.filter(({ event: { writer } }) => writer !== event.client)
        for (const entry of this.#entries.values()) {
          if (!entry.isSealed && entry.writer === event.client) this.#drop(entry, 'freed')
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
        this.#sweepZombies()
    }
  }

  // --- room

  #allocate(event: AllocateEvent, nowMs: number): void {
    if (this.#entries.has(event.name)) {
      // Names are given out once; who uses one twice does not speak the protocol.
      this.#refuse(event)
      return
    }
    this.#waiting.push({ event, isRestore: false, sinceMs: nowMs })
  }

  #abandon(key: number, name: string): void {
    this.#waiting = this.#waiting.filter(({ event }) => event.key !== key)
    const entry = this.#entries.get(name)
    if (entry?.key === key && !entry.isSealed) this.#drop(entry, 'freed')
  }

  /** Answers requests for room in their order, those of programs before copies. */
  #serve(nowMs: number): void {
    if (this.#waiting.length === 0) return
    const ordered = this.#waiting.toSorted((a, b) => Number(a.event.kind === 'copy') - Number(b.event.kind === 'copy'))
    const left: Waiting[] = []
    for (const waiting of ordered) {
      // A larger one that waits already comes first.
      if (left.length > 0 && left[0]?.event.kind === waiting.event.kind) left.push(waiting)
      else if (!this.#serveOne(waiting, nowMs)) left.push(waiting)
    }
    this.#waiting = left
  }

  #serveOne(waiting: Waiting, nowMs: number): boolean {
    const { event, isRestore } = waiting
    const { bytesMax, hasSegment, spill } = this.#options
    const canFit = hasSegment && event.bytes <= bytesMax
    const offset = canFit ? this.#room(event.bytes, nowMs, false) : undefined
    if (offset !== undefined) {
      this.#give(event, offset, nowMs)
      return true
    }
    if (canFit) this.#startSpilling(event.bytes, nowMs)
    if (canFit && (this.#spilling !== undefined || this.#isGraceLeft(waiting, nowMs))) return false
    // Nothing can be moved out of the way. What was brought here a moment ago goes before somebody is refused.
    const lastOffset = canFit ? this.#room(event.bytes, nowMs, true) : undefined
    if (lastOffset !== undefined) {
      this.#give(event, lastOffset, nowMs)
      return true
    }
    if (event.kind !== 'copy' && this.#diskProblem === '' && !isRestore && spill?.hasRoom(event.bytes) === true) {
      const file = spill.nextFile()
      this.#create(event, nowMs).disk = { file, offset: 0, crc: 0 }
      this.#actions.push({ type: 'placeFile', key: event.key, name: event.name, file })
      return true
    }
    if (canFit && nowMs - waiting.sinceMs < waitMsMax && spill !== undefined) return false
    if (isRestore) this.#openFromFile(event.name)
    else this.#refuse(event)
    return true
  }

  /** Programs have just been asked to let go of what they do not use, and there is something that they could let go of. */
  #isGraceLeft(waiting: Waiting, nowMs: number): boolean {
    return this.#diskProblem === '' && nowMs - waiting.sinceMs < graceMs
  }

  #give(event: AllocateEvent, offset: number, nowMs: number): void {
    this.#lastGeneration = this.#lastGeneration >= 0x7fff_fffe ? 1 : this.#lastGeneration + 1
    const place = { offset, generation: this.#lastGeneration }
    this.#memoryBytes += event.bytes
    const restored = this.#entries.get(event.name)
    // A name is given out once, so one that is here already is to come back from the disk.
    if (restored?.disk !== undefined) {
      restored.memory = place
      restored.isMoving = true
      const { name, bytes, disk } = restored
      this.#actions.push({ type: 'restore', name, bytes, from: disk, place })
      return
    }
    this.#create(event, nowMs).memory = place
    this.#actions.push({ type: 'place', key: event.key, name: event.name, place })
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
    const { bytesMax, gate, spill } = this.#options
    const isDiskFull = spill !== undefined && !spill.hasRoom(wantedBytes)
    let pinnedBytes = this.#zombieBytes
    for (const { memory, bytes, holds } of this.#entries.values()) {
      if (memory !== undefined && (holds > 0 || gate.isPinned(memory.offset))) pinnedBytes += bytes
    }
    return {
      bytesMax,
      usedBytes: this.usedBytes,
      pinnedBytes,
      disk: isDiskFull ? 'the disk is full' : this.diskProblem,
    }
  }

  /** Room for a value, for which others are dropped if need be. */
  #room(bytes: number, nowMs: number, mayTakeYoung: boolean): number | undefined {
    const { bytesMax } = this.#options
    const size = blockBytesOf(bytes)
    for (;;) {
      if (this.usedBytes + bytes <= bytesMax) {
        const offset = this.#allocator.allocate(size)
        if (offset !== undefined) return offset
      }
      if (!this.#sweepZombies() && !this.#evictOne(nowMs, mayTakeYoung)) return undefined
    }
  }

  /** Frees the memory of values that nobody looks at any more. */
  #sweepZombies(): boolean {
    let isAnyFree = false
    for (const [offset, bytes] of this.#zombies) {
      if (this.#options.gate.isPinned(offset)) continue
      this.#zombies.delete(offset)
      this.#zombieBytes -= bytes
      this.#allocator.free(offset, blockBytesOf(bytes))
      isAnyFree = true
    }
    return isAnyFree
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
    else if (gate.hide(memory.offset)) {
      entry.memory = undefined
      this.#memoryBytes -= bytes
      this.#allocator.free(memory.offset, blockBytesOf(bytes))
      this.#shelves.put(entry)
      return true
    } else gate.show(memory, name, bytes)
    // Those that can go are found sooner when this one is not the first any more.
    this.#shelves.put(entry)
    return false
  }

  // --- values

  #seal({ name, object, crc }: { name: string; object: string; crc: number }, nowMs: number): void {
    const entry = this.#entries.get(name)
    if (entry === undefined || entry.isSealed) return
    entry.isSealed = true
    entry.object = object
    entry.touchedMs = nowMs
    if (entry.memory !== undefined) this.#options.gate.show(entry.memory, name, entry.bytes)
    else if (entry.disk !== undefined) this.#onDisk(entry, { ...entry.disk, crc })
    this.#nowStored(entry)
  }

  #wroteFile({ name, bytes, owner, object, file }: StoreEvent & { type: 'wroteFile' }, nowMs: number): void {
    if (this.#entries.has(name)) return
    const entry = this.#create({ type: 'allocate', key: 0, name, bytes, writer: '', owner, kind: 'primary' }, nowMs)
    entry.isSealed = true
    entry.object = object
    this.#onDisk(entry, { file, offset: 0, crc: 0 })
    this.#nowStored(entry)
  }

  #nowStored(entry: StoredEntry): void {
    this.counters.stored += 1
    this.#shelves.put(entry)
    const { name, object, kind } = entry
    this.#actions.push({ type: 'stored', name, object, kind })
  }

  #onDisk(entry: StoredEntry, disk: DiskPlace): void {
    entry.disk = disk
    this.#diskBytes += entry.bytes
    const file = this.#files.get(disk.file)
    if (file === undefined) this.#files.set(disk.file, { entries: new Set([entry]), bytes: entry.bytes })
    else {
      file.entries.add(entry)
      file.bytes += entry.bytes
    }
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
    if (entry.isMoving || entry.holds > 0) this.#lingering.add(entry)
    else this.#end(entry)
  }

  #end(entry: StoredEntry): void {
    this.#lingering.delete(entry)
    const { memory, disk, bytes } = entry
    if (memory !== undefined) {
      entry.memory = undefined
      this.#memoryBytes -= bytes
      if (this.#options.gate.hide(memory.offset)) this.#allocator.free(memory.offset, blockBytesOf(bytes))
      else {
        this.#zombies.set(memory.offset, bytes)
        this.#zombieBytes += bytes
      }
    }
    if (disk === undefined) return
    entry.disk = undefined
    const file = this.#files.get(disk.file)
    if (file?.entries.delete(entry) === true) this.#diskBytes -= bytes
    if (file === undefined || file.entries.size === 0) {
      this.#files.delete(disk.file)
      this.#actions.push({ type: 'deleteFile', file: disk.file })
      this.#diskRestsUntilMs = -Infinity
    }
  }

  #release(name: string, nowMs: number): void {
    const entry = this.#entries.get(name) ?? [...this.#lingering].find((each) => each.name === name)
    if (entry === undefined || entry.holds === 0) return
    entry.holds -= 1
    entry.touchedMs = nowMs
    this.#settle(entry)
  }

  /** Something that kept a value has ended. */
  #settle(entry: StoredEntry): void {
    if (!entry.isFreed) this.#shelves.put(entry)
    else if (!entry.isMoving && entry.holds === 0) this.#end(entry)
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
    this.#waiting.push({ event, isRestore: true, sinceMs: nowMs })
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
    this.#waiting = this.#waiting.filter(({ event, isRestore }) => !isRestore || event.name !== name)
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
    const { offset } = entry.memory
    entry.memory = undefined
    this.#memoryBytes -= entry.bytes
    this.#allocator.free(offset, blockBytesOf(entry.bytes))
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
    const { spill, gate } = this.#options
    if (spill === undefined || this.#spilling !== undefined || nowMs < this.#diskRestsUntilMs) return
    const wantedBytes = Math.max(bytes, Math.min(spillFileBytes, this.#options.bytesMax / 8))
    const batch: StoredEntry[] = []
    let batchBytes = 0
    for (const entry of this.#shelves.dirty.values()) {
      if (batchBytes >= wantedBytes || batch.length >= spillFileCountMax) break
      // What is looked at now would not leave the memory.
      if (entry.memory === undefined || gate.isPinned(entry.memory.offset)) continue
      batch.push(entry)
      batchBytes += entry.bytes
      if (batchBytes >= spillFileBytes) break
    }
    if (batch.length === 0) return
    if (!spill.hasRoom(batchBytes)) {
      this.#diskProblem = 'the disk is full'
      this.#diskRestsUntilMs = nowMs + diskRestMs
      return
    }
    const file = spill.nextFile()
    this.#spilling = { file, batch }
    for (const entry of batch) {
      entry.isMoving = true
      this.#shelves.take(entry)
    }
    const blocks = batch.map(({ name, memory, bytes: each }) => ({
      name,
      offset: (memory as BlockPlace).offset,
      bytes: each,
    }))
    this.#actions.push({ type: 'spill', file, blocks })
  }

  #spilled(file: string, crcs: readonly number[], nowMs: number): void {
    const batch = this.#takeSpilling(file)
    if (batch === undefined) return
    this.#diskProblem = ''
    let offset = 0
    for (const [i, entry] of batch.entries()) {
      this.counters.spilledBytes += entry.bytes
      this.#onDisk(entry, { file, offset: offset + blockHeaderBytes, crc: crcs[i] ?? 0 })
      offset += blockBytesOf(entry.bytes)
    }
    // Only now: the file goes with the last of its values, and some may have been freed meanwhile.
    for (const entry of batch) {
      entry.isMoving = false
      this.#settle(entry)
    }
    for (const waiting of this.#waiting) waiting.sinceMs = nowMs
  }

  #spillFailed(file: string, reason: string, isFull: boolean, nowMs: number): void {
    const batch = this.#takeSpilling(file)
    if (batch === undefined) return
    this.#diskProblem = reason
    this.#diskRestsUntilMs = nowMs + (isFull ? diskRestMs : 10 * diskRestMs)
    for (const entry of batch) {
      entry.isMoving = false
      this.#settle(entry)
    }
  }

  #takeSpilling(file: string): StoredEntry[] | undefined {
    if (this.#spilling?.file !== file) return undefined
    const { batch } = this.#spilling
    this.#spilling = undefined
    return batch
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
