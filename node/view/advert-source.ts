import { isDeepStrictEqual } from 'node:util'
import type { Advert } from '../../protocols/advert.ts'
import { rhythmOf } from './rhythm.ts'

/** What a node has to say of itself, without the number of the version. */
export type OwnAdvert = Omit<Advert, 'version'>

/** The load and the use of the store never stand still: only steps of this share are a change. */
const loadStep = 0.25
const storeStep = 0.05

/** Nobody hears of changes more often than this; those in between go together. */
const soonMs = 100

/** What changes rarely, and then for long. */
const steady = ['isOpen', 'role', 'total', 'labels', 'addresses'] as const

/** Those who are told. */
export interface Others {
  /** How many nodes there are, this one included. */
  readonly size: number
  /** There is a live link to each of them. */
  readonly isLinkedToAll: boolean
}

/** What is due to be told. */
export interface DueAdvert {
  readonly advert: Advert
  /** False: to the head alone. */
  readonly isForAll: boolean
}

/**
 * Decides when this node tells the others how it stands: the head soon after a change, all others when it has lasted for a
 * while or is of a kind that lasts, and everybody now and then at rest. Counts the versions.
 *
 * Pure: no clock, no timers.
 *
 * @example
 * const source = new AdvertSource(startedAtMs)
 * const due = source.offer(state(), now, view) // on every change, and a few times a second
 * if (due !== undefined) publish(due)
 */
export class AdvertSource {
  #version: number
  readonly #head = new Listener()
  readonly #all = new Listener()
  #dueInMs = 0

  /** @param startedAtMs the time of the node's start: later starts count on from higher numbers */
  constructor(startedAtMs: number) {
    this.#version = startedAtMs
  }

  /** If the state stays as it was at the last offer, so long after it somebody is to be told. */
  get dueInMs(): number {
    return this.#dueInMs
  }

  /** What to publish now; undefined when nothing is due yet. */
  offer(state: OwnAdvert, nowMs: number, { size, isLinkedToAll }: Others): DueAdvert | undefined {
    const { linkedRestMs, changeMs, ...rhythm } = rhythmOf(size)
    const restMs = isLinkedToAll ? linkedRestMs : rhythm.restMs
    const allInMs = this.#all.dueInMs(state, nowMs, { restMs, changeMs, lastsMs: changeMs })
    const headInMs = this.#head.dueInMs(state, nowMs, { restMs: rhythm.restMs, changeMs: soonMs, lastsMs: 0 })
    const isForAll = allInMs === 0
    if (!isForAll && headInMs > 0) {
      this.#dueInMs = Math.min(allInMs, headInMs)
      return undefined
    }
    this.#head.tell(state, nowMs)
    if (isForAll) this.#all.tell(state, nowMs)
    this.#dueInMs = isForAll ? restMs : allInMs
    return { advert: this.next(state), isForAll }
  }

  /**
   * The state for one node that asks, with a version of its own. The others are told in their time nevertheless.
   *
   * It gets to the head, too, by whoever asked: the next offer is for the head, so that what it has heard so does not stay
   * when it is over by then. All others would hear of every refusal then, so they wait for the next change or rest.
   */
  next(state: OwnAdvert): Advert {
    if (this.#head.isNews(state)) this.#head.forget()
    return { ...state, version: ++this.#version }
  }

  /** The next offer is published as soon as the rate allows, even if nothing in it is new: somebody may not know it. */
  tellAgain(): void {
    this.#head.forget()
    this.#all.forget()
  }
}

interface Pace {
  /** At rest it is told so often. */
  readonly restMs: number
  /** Changes that may be over soon are told so often at most, */
  readonly changeMs: number
  /** when they have lasted for so long. */
  readonly lastsMs: number
}

/** Somebody who is told now and then. */
class Listener {
  #told: OwnAdvert | undefined
  #toldAtMs = Number.NEGATIVE_INFINITY
  #changedAtMs: number | undefined

  /** It was told something else. */
  isNews(state: OwnAdvert): boolean {
    return this.#told !== undefined && isChange(this.#told, state)
  }

  /** How long until it is to be told, if the state stays as it is. */
  dueInMs(state: OwnAdvert, nowMs: number, { restMs, changeMs, lastsMs }: Pace): number {
    const sinceMs = nowMs - this.#toldAtMs
    if (this.#told === undefined) return Math.max(0, changeMs - sinceMs)
    if (isChange(this.#told, state)) this.#changedAtMs ??= nowMs
    else this.#changedAtMs = undefined
    const restInMs = Math.max(0, restMs - sinceMs)
    if (this.#changedAtMs === undefined) return restInMs
    if (isSteadyChange(this.#told, state)) return Math.min(restInMs, Math.max(0, soonMs - sinceMs))
    const lastedMs = nowMs - this.#changedAtMs
    return Math.min(restInMs, Math.max(0, changeMs - sinceMs, lastsMs - lastedMs))
  }

  tell(state: OwnAdvert, nowMs: number): void {
    this.#told = state
    this.#toldAtMs = nowMs
    this.#changedAtMs = undefined
  }

  forget(): void {
    this.#told = undefined
  }
}

function isSteadyChange(before: OwnAdvert, after: OwnAdvert): boolean {
  return steady.some((name) => !isDeepStrictEqual(before[name], after[name]))
}

function isChange(before: OwnAdvert, after: OwnAdvert): boolean {
  const { load: loadBefore, store: storeBefore, ...restBefore } = before
  const { load, store, ...rest } = after
  return (
    Math.abs(load - loadBefore) >= loadStep ||
    store.bytesMax !== storeBefore.bytesMax ||
    Math.abs(store.usedBytes - storeBefore.usedBytes) > storeStep * store.bytesMax ||
    !isDeepStrictEqual(rest, restBefore)
  )
}
