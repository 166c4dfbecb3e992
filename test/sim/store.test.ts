import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { blockBytesOf, blocksStart, segmentBytesOf, type BlockPlace } from '../../protocols/store-segment.ts'
import { StoreBook } from '../../node/store/store-book.ts'
import type { StoreAction, StoreEvent } from '../../node/store/store-events.ts'
import { seededRandom } from '../support/seeded-random.ts'

const runs = Number(process.env['SHOAL_SIM_RUNS'] ?? 200)
const bytesMax = 4_000_000
/** No request may wait longer than this. */
const answerMsMax = 20_000

interface Block {
  offset: number
  bytes: number
}

/** A store with memory, disk, clients and time of its own. */
class World {
  readonly random: () => number
  readonly book: StoreBook
  nowMs = 0
  /** What may not be given to anybody else: written, readable, or pinned. */
  readonly live = new Map<string, Block>()
  readonly pinned = new Map<number, number>()
  readonly shown = new Map<number, string>()
  readonly waiting = new Map<number, { sinceMs: number; name: string }>()
  readonly opening = new Map<number, { sinceMs: number; name: string }>()
  readonly names = new Set<string>()
  readonly unsealed = new Map<string, number>()
  readonly disk = new Set<string>()
  readonly later: { atMs: number; event: () => StoreEvent }[] = []
  isDiskFull = false
  #lastKey = 0
  #lastFile = 0

  constructor(seed: number) {
    this.random = seededRandom(seed)
    this.book = new StoreBook({
      bytesMax,
      hasSegment: true,
      gate: {
        show: ({ offset }, name) => void this.shown.set(offset, name),
        hide: (offset) => {
          this.shown.delete(offset)
          return !this.pinned.has(offset)
        },
        isPinned: (offset) => this.pinned.has(offset),
        takeUsed: () => this.random() < 0.1,
      },
      spill: { nextFile: () => `file-${++this.#lastFile}`, hasRoom: () => !this.isDiskFull },
    })
  }

  pick<T>(items: Iterable<T>): T | undefined {
    const all = [...items]
    return all[Math.floor(this.random() * all.length)]
  }

  step(event: StoreEvent): void {
    const actions = this.book.step(event, this.nowMs)
    this.#forget()
    for (const action of actions) this.#take(action)
    this.#check()
  }

  allocate(): void {
    const key = ++this.#lastKey
    const name = key.toString(16).padStart(44, '0')
    const bytes = Math.floor(this.random() ** 3 * bytesMax * 0.6)
    const kind = this.random() < 0.3 ? 'copy' : 'primary'
    const owner = `owner-${Math.floor(this.random() * 4)}`
    this.waiting.set(key, { sinceMs: this.nowMs, name })
    this.step({ type: 'allocate', key, name, bytes, writer: kind === 'copy' ? '' : owner, owner, kind })
  }

  open(): void {
    const name = this.pick(this.names)
    if (name === undefined) return
    const key = ++this.#lastKey
    this.opening.set(key, { sinceMs: this.nowMs, name })
    this.step({ type: 'open', key, name })
  }

  #use(name: string, { offset }: BlockPlace, bytes: number): void {
    const block = { offset, bytes: blockBytesOf(bytes) }
    assert.ok(offset >= blocksStart && offset + block.bytes <= segmentBytesOf(bytesMax))
    for (const [other, at] of this.live) {
      if (other === name) continue
      assert.ok(
        offset + block.bytes <= at.offset || at.offset + at.bytes <= offset,
        `${name} was given the memory of ${other}`,
      )
    }
    for (const [pin, pinBytes] of this.pinned) {
      if (this.live.get(name)?.offset === pin) continue
      assert.ok(offset + block.bytes <= pin || pin + pinBytes <= offset, `${name} was given memory that is looked at`)
    }
    this.live.set(name, block)
  }

  #take(action: StoreAction): void {
    switch (action.type) {
      case 'place': {
        this.waiting.delete(action.key)
        this.#use(action.name, action.place, this.book.entries.get(action.name)?.bytes ?? 0)
        this.unsealed.set(action.name, action.key)
        return
      }
      case 'placeFile':
        this.waiting.delete(action.key)
        this.unsealed.set(action.name, action.key)
        this.disk.add(action.file)
        return
      case 'refuse':
        assert.ok(this.waiting.delete(action.key))
        return
      case 'opened':
        assert.ok(this.opening.delete(action.key))
        // Who comes too late finds another header there, or none.
        if (
          action.place.in === 'memory' &&
          this.shown.get(action.place.offset) === action.name &&
          this.random() < 0.5
        ) {
          this.pinned.set(action.place.offset, blockBytesOf(action.bytes))
        }
        return
      case 'openFailed':
        assert.ok(this.opening.delete(action.key))
        return
      case 'spill': {
        this.disk.add(action.file)
        const { file, blocks } = action
        const isFailed = this.isDiskFull || this.random() < 0.1
        this.#soon(() => {
          if (!isFailed) return { type: 'spilled', file, crcs: blocks.map(() => 1) }
          this.disk.delete(file)
          return { type: 'spillFailed', file, reason: 'the disk is full', isFull: true }
        })
        return
      }
      case 'restore': {
        const { name, place, bytes } = action
        this.#use(name, place, bytes)
        const isFailed = this.random() < 0.1
        this.#soon(() =>
          isFailed
            ? { type: 'restoreFailed', name, reason: 'damaged', isLost: this.random() < 0.5 }
            : { type: 'restored', name },
        )
        return
      }
      case 'deleteFile':
        assert.ok(this.disk.delete(action.file), `${action.file} was deleted twice`)
        return
      case 'stored':
        this.names.add(action.name)
        return
      case 'gone':
        this.names.delete(action.name)
        return
      case 'pressure':
    }
  }

  #soon(event: () => StoreEvent): void {
    this.later.push({ atMs: this.nowMs + this.random() * 500, event })
  }

  /** What the book does not have in memory any more may be given away. */
  #forget(): void {
    for (const name of [...this.live.keys()]) {
      const { offset } = this.live.get(name) as Block
      if (this.book.entries.get(name)?.memory?.offset !== offset && !this.book.isMoving(name)) this.live.delete(name)
    }
  }

  #check(): void {
    for (const { sinceMs, name } of [...this.waiting.values(), ...this.opening.values()]) {
      assert.ok(this.nowMs - sinceMs < answerMsMax, `nobody answers about ${name}`)
    }
    for (const offset of this.shown.keys()) {
      const name = this.shown.get(offset) as string
      // One that was freed on its way to the disk stays where it is until it is there.
      if (this.book.isMoving(name)) continue
      assert.equal(this.book.entries.get(name)?.memory?.offset, offset, `${name} can be read where it is not`)
    }
  }

  advance(ms: number): void {
    this.nowMs += ms
    for (const due of this.later.filter(({ atMs }) => atMs <= this.nowMs)) {
      this.later.splice(this.later.indexOf(due), 1)
      this.step(due.event())
    }
    this.step({ type: 'tick' })
  }

  act(): void {
    const dice = this.random()
    if (dice < 0.35) this.allocate()
    else if (dice < 0.6) {
      const name = this.pick(this.unsealed.keys())
      if (name === undefined) return
      const key = this.unsealed.get(name) as number
      this.unsealed.delete(name)
      if (this.random() < 0.9) this.step({ type: 'seal', name, object: '', crc: 0 })
      else this.step({ type: 'abandon', key, name })
    } else if (dice < 0.72) {
      const name = this.pick(this.names)
      if (name !== undefined) this.step({ type: 'free', names: [name] })
    } else if (dice < 0.85) this.open()
    else if (dice < 0.93) {
      const offset = this.pick(this.pinned.keys())
      if (offset !== undefined) this.pinned.delete(offset)
    } else if (dice < 0.94) {
      const client = `owner-${Math.floor(this.random() * 4)}`
      this.step({ type: 'clientGone', client })
      this.step({ type: 'ownersGone', isGone: (owner) => owner === client })
      for (const name of [...this.unsealed.keys()]) if (!this.book.entries.has(name)) this.unsealed.delete(name)
      for (const [key, { name }] of this.waiting) if (!this.book.isWaiting(name)) this.waiting.delete(key)
    } else if (dice < 0.95) this.isDiskFull = !this.isDiskFull
    else this.advance(this.random() * 300)
  }

  /** Everything ends well: nothing is looked at, and all is freed. */
  end(): void {
    this.isDiskFull = false
    this.pinned.clear()
    for (let i = 0; i < 200; i++) this.advance(200)
    for (const [name, key] of this.unsealed) this.step({ type: 'abandon', key, name })
    this.step({ type: 'free', names: [...this.names] })
    this.pinned.clear()
    for (let i = 0; i < 50; i++) this.advance(200)
    assert.equal(this.waiting.size, 0)
    assert.equal(this.opening.size, 0)
    assert.equal(this.book.usedBytes, 0)
    assert.equal(this.book.diskBytes, 0)
    assert.equal(this.book.count, 0)
    assert.equal(this.shown.size, 0)
    // Memory is whole again.
    this.step({
      type: 'allocate',
      key: -1,
      name: 'ff'.repeat(22),
      bytes: bytesMax,
      writer: 'w',
      owner: 'w',
      kind: 'primary',
    })
    assert.ok(this.book.entries.get('ff'.repeat(22))?.memory !== undefined)
  }
}

describe('the policy of the object store, simulated', () => {
  test(`nothing in use is given away, everything is answered, nothing is left (${runs} runs)`, () => {
    const firstSeed = Number(process.env['SHOAL_SIM_SEED'] ?? 1)
    for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
      const world = new World(seed)
      try {
        for (let i = 0; i < 400; i++) world.act()
        world.end()
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
      }
    }
  })
})
