import assert from 'node:assert/strict'
import { blockBytesOf, blockHeaderBytes, blocksStart, segmentBytesOf } from '../../protocols/store-segment.ts'
import { StoreBook } from '../../node/store/store-book.ts'
import type { DiskPlace, SegmentGate, StoreAction, StoreEvent, StoredKind } from '../../node/store/store-events.ts'
import { seededRandom } from './seeded-random.ts'

export interface StoreWorldOptions {
  seed: number
  bytesMax?: number
  /** False: values that do not fit are refused. */
  hasDisk?: boolean
  /** How long the disk takes for a file, at most. */
  diskMsMax?: number
  /** For a run that shows whether a fault of the store would be found: what the store is told instead. */
  gate?: (gate: SegmentGate) => SegmentGate
}

/** No request may wait longer than this, unless the disk itself takes longer to read. */
const answerMsMax = 40_000

interface Block {
  readonly name: string
  readonly bytes: number
}

/** Somebody who writes a value into the room that he was given, or into a file. */
interface Writing {
  readonly key: number
  readonly name: string
  readonly writer: string
  readonly offset: number | undefined
  readonly file: string | undefined
}

/**
 * A store with memory, disk, programs and time of its own: it does what the policy says, and fails as soon as that gives away
 * what is in use, loses count, answers twice or never, or leaves something behind.
 */
export class StoreWorld {
  readonly random: () => number
  readonly book: StoreBook
  readonly bytesMax: number
  nowMs = 0
  isDiskFull = false
  /** The disk does what it is told from now on. */
  #isCalm = false
  readonly counters = {
    placed: 0,
    inFiles: 0,
    refused: 0,
    spilled: 0,
    restored: 0,
    lost: 0,
    zombies: 0,
    kept: 0,
    idle: 0,
    unowned: 0,
  }
  readonly #diskMsMax: number
  /** Given out, by offset, until the store has it back; and the value whose bytes are there now. */
  readonly #blocks = new Map<number, Block>()
  readonly #content = new Map<number, string>()
  /** Blocks that can be found by those who know where they lie. */
  readonly #shown = new Map<number, string>()
  /** Could not be hidden, since somebody looked. */
  readonly #hiddenWhilePinned = new Set<number>()
  readonly #pins = new Map<number, { name: string; count: number }>()
  readonly #writings: Writing[] = []
  readonly #holds = new Map<number, { name: string; offset: number | undefined }>()
  /** Blocks that the disk reads from or writes to. */
  readonly #busy = new Map<number, string>()
  readonly #files = new Map<string, Map<number, string>>()
  readonly #deleted = new Set<string>()
  readonly #asked = new Map<number, { sinceMs: number; name: string; writer: string }>()
  readonly #opening = new Map<number, { sinceMs: number; name: string }>()
  readonly #stored = new Map<string, StoredKind>()
  /** Copies that are here no more: they may come once more, under the same name. */
  readonly #goneCopies: { name: string; bytes: number }[] = []
  /** Values that programs did not write after all: what they write next has the same name. */
  readonly #givenUp: { name: string; bytes: number }[] = []
  readonly #bytesOf = new Map<string, number>()
  readonly #later: { atMs: number; event: () => StoreEvent }[] = []
  #lastKey = 0
  #lastFile = 0

  constructor(options: StoreWorldOptions) {
    const { seed, bytesMax = 4_000_000, hasDisk = true, diskMsMax = 500, gate = (each) => each } = options
    this.random = seededRandom(seed)
    this.bytesMax = bytesMax
    this.#diskMsMax = diskMsMax
    this.book = new StoreBook({
      bytesMax,
      hasSegment: true,
      gate: gate(this.#gate()),
      spill: hasDisk
        ? { nextFile: () => `file-${++this.#lastFile}`, problemWith: () => (this.isDiskFull ? 'the disk is full' : '') }
        : undefined,
      idleMs: 500,
    })
  }

  #gate(): SegmentGate {
    return {
      show: ({ offset }, name) => {
        this.#hiddenWhilePinned.delete(offset)
        this.#shown.set(offset, name)
      },
      hide: (offset) => {
        assert.ok(this.#blocks.has(offset), `${offset} is hidden and is no block`)
        this.#shown.delete(offset)
        if (this.#pins.has(offset)) this.#hiddenWhilePinned.add(offset)
        else this.#release(offset)
        return !this.#pins.has(offset)
      },
      isPinned: (offset) => {
        if (this.#pins.has(offset)) return true
        // What was freed while it was looked at is free now.
        if (this.#hiddenWhilePinned.delete(offset)) this.#release(offset)
        return false
      },
      pinned: () => new Set(this.#pins.keys()),
      takeUsed: () => this.random() < 0.1,
    }
  }

  /** The store has the memory back. Nobody may be using it. */
  #release(offset: number): void {
    const { name } = this.#blocks.get(offset) as Block
    const writing = this.#writings.find((each) => each.offset === offset)
    assert.equal(writing?.name, undefined, `${name} gives its memory back while ${writing?.writer} writes it`)
    assert.equal(this.#busy.get(offset), undefined, `${name} gives its memory back while the disk is at it`)
    for (const hold of this.#holds.values()) {
      assert.notEqual(hold.offset, offset, `${name} gives its memory back while the node sends it`)
    }
    this.#blocks.delete(offset)
    this.#content.delete(offset)
  }

  pick<T>(items: Iterable<T>): T | undefined {
    const all = [...items]
    return all[Math.floor(this.random() * all.length)]
  }

  get #someClient(): string {
    return `client-${Math.floor(this.random() * 4)}`
  }

  step(event: StoreEvent): void {
    for (const action of this.book.step(event, this.nowMs)) this.#take(action)
    this.check()
  }

  allocate(bytes = Math.floor(this.random() ** 3 * this.bytesMax * 0.6), isCopy = this.random() < 0.3): void {
    const key = ++this.#lastKey
    const owner = this.#someClient
    const again = this.random() < 0.3 ? (isCopy ? this.#goneCopies : this.#givenUp).pop() : undefined
    const value = again ?? { name: key.toString(16).padStart(44, '0'), bytes }
    const writer = isCopy ? '' : this.#someClient
    this.#asked.set(key, { sinceMs: this.nowMs, name: value.name, writer })
    this.step({ type: 'allocate', key, ...value, writer, owner, kind: isCopy ? 'copy' : 'primary' })
  }

  /** Somebody asks for room for what is there, or on its way. */
  allocateTwice(): void {
    const known = [...this.#stored.keys(), ...Array.from(this.#asked.values(), (each) => each.name)]
    const name = this.pick(known)
    if (name === undefined) return
    const key = ++this.#lastKey
    const { refused } = this.counters
    this.#asked.set(key, { sinceMs: this.nowMs, name, writer: 'client-0' })
    this.step({ type: 'allocate', key, name, bytes: 10, writer: 'client-0', owner: 'client-0', kind: 'primary' })
    assert.ok(!this.#asked.has(key) && this.counters.refused > refused, `${name} is given room twice`)
  }

  /** Somebody has written his value, or gives it up. */
  finishWriting(isGivenUp = this.random() < 0.15): void {
    const writing = this.pick(this.#writings)
    if (writing === undefined) return
    this.#writings.splice(this.#writings.indexOf(writing), 1)
    const { name, writer, offset, file } = writing
    // Programs know names only.
    const byKey = writer === '' ? { key: writing.key } : {}
    if (isGivenUp) {
      if (writer !== '') this.#givenUp.push({ name, bytes: this.#bytesOf.get(name) ?? 0 })
      return this.step({ type: 'abandon', name, ...byKey })
    }
    if (offset !== undefined) this.#content.set(offset, name)
    else if (file !== undefined && !this.#deleted.has(file)) this.#files.get(file)?.set(0, name)
    const block = offset === undefined ? undefined : this.#blocks.get(offset)
    if (block === undefined || offset === undefined || this.random() < 0.7) {
      this.step({ type: 'seal', name, object: '', crc: 0, ...byKey })
      return
    }
    // It is smaller than he thought.
    const bytes = Math.floor(block.bytes * this.random())
    this.#blocks.set(offset, { name, bytes })
    this.#bytesOf.set(name, bytes)
    this.step({ type: 'seal', name, bytes, object: '', crc: 0, ...byKey })
  }

  /** Somebody needs room no more before he was given any. */
  giveUpWaiting(): void {
    const asked = this.pick(this.#asked)
    if (asked === undefined) return
    const [key, { name }] = asked
    this.#asked.delete(key)
    this.step({ type: 'abandon', key, name })
  }

  free(name = this.pick(this.random() < 0.9 ? this.#stored.keys() : this.#writings.map((each) => each.name))): void {
    if (name === undefined) return
    const entry = this.book.entries.get(name)
    // Another node may still have it.
    if (entry?.kind === 'copy' && !entry.isSealed) this.#goneCopies.push({ name, bytes: entry.bytes })
    this.step({ type: 'free', names: [name] })
  }

  /** A copy, here or on its way, stands for its value from now on. */
  keepCopy(): void {
    const name = this.pick(this.book.entries.values().filter(({ kind }) => kind === 'copy'))?.name
    if (name === undefined) return
    this.step({ type: 'keep', name })
    if (this.#stored.has(name)) this.#stored.set(name, 'replica')
    this.counters.kept += 1
  }

  open(): void {
    const name = this.pick(this.#stored.keys())
    if (name === undefined) return
    const key = ++this.#lastKey
    this.#opening.set(key, { sinceMs: this.nowMs, name })
    this.step({ type: 'open', key, name })
  }

  /** A program has found that what is in a file is not what was written there. */
  damage(): void {
    const isOnDisk = ({ name }: { name: string }): boolean => this.#stored.has(name)
    const entry = this.pick(this.book.entries.values().filter((each) => each.disk !== undefined && isOnDisk(each)))
    if (entry?.disk === undefined) return
    const { name, memory } = entry
    this.step({ type: 'damaged', name, file: entry.disk.file })
    assert.equal(
      this.#stored.has(name),
      memory !== undefined,
      `${name} is here and cannot be read, or the other way round`,
    )
  }

  /** A program looks at what it knows the place of, without asking; or stops to. */
  look(): void {
    const offset = this.pick(this.#shown.keys())
    if (offset !== undefined) this.#pin(offset, this.#shown.get(offset) as string)
  }

  #pin(offset: number, name: string): void {
    assert.equal(this.#content.get(offset), name, `who reads ${name} finds other bytes`)
    const pin = this.#pins.get(offset)
    if (pin === undefined) this.#pins.set(offset, { name, count: 1 })
    else pin.count += 1
  }

  lookAway(): void {
    const offset = this.pick(this.#pins.keys())
    if (offset === undefined) return
    const pin = this.#pins.get(offset) as { name: string; count: number }
    assert.equal(this.#content.get(offset), pin.name, `${pin.name} has changed under who looked at it`)
    pin.count -= 1
    if (pin.count === 0) this.#pins.delete(offset)
  }

  hold(): void {
    const name = this.pick(this.#stored.keys())
    if (name === undefined) return
    const key = ++this.#lastKey
    this.#holds.set(key, { name, offset: this.book.entries.get(name)?.memory?.offset })
    this.step({ type: 'hold', key, name })
  }

  letGo(): void {
    const key = this.pick(this.#holds.keys())
    if (key === undefined) return
    const { name, offset } = this.#holds.get(key) as { name: string; offset: number | undefined }
    this.#holds.delete(key)
    if (offset !== undefined && !this.#busy.has(offset)) {
      assert.equal(this.#content.get(offset), name, `${name} has changed while the node sent it`)
    }
    this.step({ type: 'release', key, name })
  }

  /** A program of another node ends: who is writing a value for it goes on, and may find that it needs no more room. */
  ownerGone(): void {
    const owner = this.#someClient
    this.step({ type: 'ownersGone', isGone: (each) => each === owner })
    this.counters.unowned += this.#writings.filter(({ name }) => !this.book.entries.has(name)).length
  }

  /** A program ends: its connection is closed at once, its process is gone a little later, and it may write until then. */
  clientGone(): void {
    const client = this.#someClient
    this.step({ type: 'clientLeft', client })
    for (const { name, writer } of this.#asked.values()) assert.notEqual(writer, client, `nobody answers about ${name}`)
    this.step({ type: 'ownersGone', isGone: (owner) => owner === client })
    this.#soon(() => {
      for (const writing of this.#writings.filter(({ writer }) => writer === client)) {
        this.#writings.splice(this.#writings.indexOf(writing), 1)
      }
      return { type: 'clientGone', client }
    }, 300)
  }

  #take(action: StoreAction): void {
    switch (action.type) {
      case 'place':
        this.counters.placed += 1
        return this.#placed(action.key, action.name, action.place.offset)
      case 'placeFile': {
        this.counters.inFiles += 1
        const { writer } = this.#answered(this.#asked, action.key)
        this.#files.set(action.file, new Map())
        this.#writings.push({ key: action.key, name: action.name, writer, offset: undefined, file: action.file })
        return
      }
      case 'refuse':
        this.counters.refused += 1
        this.#answered(this.#asked, action.key)
        return
      case 'opened': {
        this.#answered(this.#opening, action.key)
        const { name, place } = action
        if (place.in === 'file') this.#checkFile(place, name)
        // Who comes too late finds another header there, or none.
        else {
          assert.equal(this.#shown.get(place.offset), name, `${name} cannot be read where it is said to be`)
          if (this.random() < 0.6) this.#pin(place.offset, name)
        }
        return
      }
      case 'openFailed':
        this.#answered(this.#opening, action.key)
        return
      case 'spill':
        return this.#spill(action.file, action.blocks)
      case 'restore':
        return this.#restore(action)
      case 'deleteFile': {
        const { file } = action
        assert.ok(this.#files.delete(file), `${file} is deleted and is not there`)
        assert.ok(!this.#deleted.has(file), `${file} is deleted twice`)
        this.#deleted.add(file)
        for (const { name, disk } of this.book.entries.values()) {
          assert.notEqual(disk?.file, file, `${file} is deleted while ${name} lies there`)
        }
        const writing = this.#writings.find((each) => each.file === file)
        assert.equal(writing, undefined, `${file} is deleted while it is written`)
        return
      }
      case 'giveBack':
        return this.#giveBack(action.start, action.bytes)
      case 'stored':
        assert.ok(!this.#stored.has(action.name), `${action.name} is stored twice`)
        this.#stored.set(action.name, action.kind)
        return
      case 'gone': {
        const kind = this.#stored.get(action.name)
        assert.ok(this.#stored.delete(action.name), `${action.name} is gone and was not there`)
        if (action.reason === 'lost') this.counters.lost += 1
        assert.ok(kind === 'copy' || action.reason !== 'dropped', `${action.name} is dropped and is no copy`)
        if (kind === 'copy' && action.reason === 'dropped') this.#goneCopies.push(this.#goneCopy(action.name))
        return
      }
      case 'pressure':
    }
  }

  /** Pages go back to the system, whatever is in them. */
  #giveBack(start: number, bytes: number): void {
    this.counters.idle += 1
    assert.ok(start >= blocksStart && start + bytes <= segmentBytesOf(this.bytesMax), 'what is given back lies outside')
    for (const [at, { name, bytes: size }] of this.#blocks) {
      const isApart = at + blockBytesOf(size) <= start || start + bytes <= at
      assert.ok(isApart, `${name} loses its memory to the system`)
    }
  }

  #goneCopy(name: string): { name: string; bytes: number } {
    return { name, bytes: this.#bytesOf.get(name) ?? 0 }
  }

  #answered<T>(asked: Map<number, T>, key: number): T {
    const question = asked.get(key)
    assert.ok(question !== undefined, `an answer to question ${key}, which is none`)
    asked.delete(key)
    return question
  }

  #placed(key: number, name: string, offset: number): void {
    const { writer } = this.#answered(this.#asked, key)
    this.#use(offset, name, this.book.entries.get(name)?.bytes ?? 0)
    this.#writings.push({ key, name, writer, offset, file: undefined })
  }

  #use(offset: number, name: string, bytes: number): void {
    const end = offset + blockBytesOf(bytes)
    assert.ok(offset >= blocksStart && end <= segmentBytesOf(this.bytesMax), `${name} lies outside`)
    for (const [at, other] of this.#blocks) {
      assert.ok(end <= at || at + blockBytesOf(other.bytes) <= offset, `${name} was given memory of ${other.name}`)
    }
    this.#blocks.set(offset, { name, bytes })
    this.#bytesOf.set(name, bytes)
  }

  #spill(file: string, blocks: readonly { name: string; offset: number; bytes: number }[]): void {
    assert.ok(!this.#files.has(file) && !this.#deleted.has(file))
    const inFile = new Map<number, string>()
    let at = 0
    for (const { name, offset, bytes } of blocks) {
      assert.equal(this.#content.get(offset), name, `${name} goes to the disk and does not lie there`)
      inFile.set(at + blockHeaderBytes, name)
      at += blockBytesOf(bytes)
      this.#busy.set(offset, name)
    }
    const isFailed = !this.#isCalm && (this.isDiskFull || this.random() < 0.1)
    this.#soon(() => {
      for (const { offset, name } of blocks) {
        this.#busy.delete(offset)
        assert.equal(this.#content.get(offset), name, `${name} has changed while it was written to the disk`)
      }
      if (isFailed) return { type: 'spillFailed', file, reason: 'no', isFull: this.random() < 0.7 }
      this.counters.spilled += blocks.length
      this.#files.set(file, inFile)
      return { type: 'spilled', file, crcs: blocks.map(() => 1) }
    })
  }

  #restore({ name, bytes, place: { offset }, from }: StoreAction & { type: 'restore' }): void {
    this.#use(offset, name, bytes)
    this.#checkFile(from, name)
    this.#busy.set(offset, name)
    for (const hold of this.#holds.values()) if (hold.name === name) hold.offset = offset
    const isFailed = !this.#isCalm && this.random() < 0.1
    this.#soon(() => {
      this.#busy.delete(offset)
      if (!isFailed) {
        this.counters.restored += 1
        this.#content.set(offset, name)
        return { type: 'restored', name }
      }
      for (const hold of this.#holds.values()) if (hold.offset === offset) hold.offset = undefined
      this.#release(offset)
      return { type: 'restoreFailed', name, reason: 'no', isLost: this.random() < 0.5 }
    })
  }

  #checkFile({ file, offset }: DiskPlace, name: string): void {
    assert.equal(this.#files.get(file)?.get(offset), name, `${name} is not in ${file} at ${offset}`)
  }

  #soon(event: () => StoreEvent, msMax = this.#diskMsMax): void {
    this.#later.push({ atMs: this.nowMs + this.random() * msMax, event })
  }

  /** What must hold at any time. */
  check(): void {
    for (const { sinceMs, name } of this.#asked.values()) {
      assert.ok(this.nowMs - sinceMs < answerMsMax, `nobody gives ${name} room, or says why not`)
    }
    for (const { sinceMs, name } of this.#opening.values()) {
      assert.ok(this.nowMs - sinceMs < answerMsMax + 2 * this.#diskMsMax, `nobody says where ${name} is`)
    }
    let bytes = 0
    for (const block of this.#blocks.values()) bytes += block.bytes
    assert.equal(this.book.usedBytes, bytes, 'the store has lost count of its memory')
    assert.ok(bytes <= this.bytesMax, 'there is more in memory than there may be')
    assert.ok(this.book.figures().pinnedBytes <= bytes, 'more is looked at than there is')
    for (const [offset, name] of this.#shown) {
      assert.equal(this.#content.get(offset), name, `${name} can be read where it is not`)
    }
    for (const name of this.#stored.keys()) assert.ok(this.book.entries.get(name)?.isSealed, `${name} is not there`)
    this.#checkUse()
    this.counters.zombies = Math.max(this.counters.zombies, this.#hiddenWhilePinned.size)
  }

  /** Whatever takes memory is needed, or somebody is at it. */
  #checkUse(): void {
    const used = new Set([...this.#pins.keys(), ...this.#hiddenWhilePinned, ...this.#busy.keys()])
    for (const { memory } of this.book.entries.values()) if (memory !== undefined) used.add(memory.offset)
    for (const { offset } of [...this.#writings, ...this.#holds.values()]) if (offset !== undefined) used.add(offset)
    for (const [offset, { name }] of this.#blocks) assert.ok(used.has(offset), `nobody needs ${name} and it stays`)
  }

  advance(ms: number): void {
    this.nowMs += ms
    for (const due of this.#later.filter(({ atMs }) => atMs <= this.nowMs)) {
      this.#later.splice(this.#later.indexOf(due), 1)
      this.step(due.event())
    }
    this.step({ type: 'tick' })
    this.step({ type: 'lookForIdle' })
  }

  /** Something happens. */
  act(): void {
    const dice = this.random()
    if (dice < 0.01) this.allocateTwice()
    else if (dice < 0.28) this.allocate()
    else if (dice < 0.5) this.finishWriting()
    else if (dice < 0.51) this.giveUpWaiting()
    else if (dice < 0.6) this.free()
    else if (dice < 0.7) this.open()
    else if (dice < 0.73) this.look()
    else if (dice < 0.82) this.lookAway()
    else if (dice < 0.84) this.hold()
    else if (dice < 0.87) this.letGo()
    else if (dice < 0.88) this.clientGone()
    else if (dice < 0.885) this.keepCopy()
    else if (dice < 0.89) this.isDiskFull = !this.isDiskFull
    else if (dice < 0.893) this.damage()
    else if (dice < 0.905) this.ownerGone()
    else this.advance(this.random() * 300)
  }

  /** Everything ends well: nothing is looked at, all is freed, and nothing is left. */
  end(): void {
    this.isDiskFull = false
    while (this.#holds.size > 0) this.letGo()
    while (this.#pins.size > 0) this.lookAway()
    for (let i = 0; i < 200; i++) this.advance(300 + this.#diskMsMax / 100)
    while (this.#writings.length > 0) this.finishWriting(true)
    this.step({ type: 'free', names: [...this.#stored.keys()] })
    while (this.#pins.size > 0) this.lookAway()
    for (let i = 0; i < 100; i++) {
      this.advance(200 + this.#diskMsMax / 50)
      while (this.#writings.length > 0) this.finishWriting(true)
      while (this.#pins.size > 0) this.lookAway()
    }
    assert.deepEqual([this.#asked.size, this.#opening.size], [0, 0], 'somebody waits')
    const { usedBytes, diskBytes, count, fileCount } = this.book
    assert.deepEqual({ usedBytes, diskBytes, count, fileCount }, { usedBytes: 0, diskBytes: 0, count: 0, fileCount: 0 })
    assert.deepEqual([this.#shown.size, this.#files.size, this.#blocks.size], [0, 0, 0], 'something is left')
    assert.equal(this.book.wantsTick, false, 'an empty store keeps the node awake')
    this.#begin()
  }

  /** It works as on the first day. */
  #begin(): void {
    this.#isCalm = true
    this.nowMs += 20_000
    this.#givenUp.length = 0
    const { placed, spilled, inFiles, refused } = this.counters
    this.allocate(this.bytesMax, false)
    assert.equal(this.counters.placed, placed + 1, 'memory is not whole again')
    this.finishWriting(false)
    const hasDisk = this.book.diskProblem !== 'values do not go to the disk here'
    if (!hasDisk) return
    this.allocate(this.bytesMax + 1, false)
    assert.equal(this.counters.inFiles, inFiles + 1, 'what is too large for memory does not go to the disk')
    this.finishWriting(false)
    // Each one can have its place only when the one before has left.
    for (let i = 0; i < 3; i++) {
      this.allocate(this.bytesMax, false)
      for (let waited = 0; waited < 20; waited++) this.advance(this.#diskMsMax / 10)
      this.finishWriting(false)
    }
    assert.equal(this.counters.refused, refused, 'a disk that works is of no use')
    assert.equal(this.counters.spilled, spilled + 3)
  }
}
