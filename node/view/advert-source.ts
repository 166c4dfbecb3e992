import { isDeepStrictEqual } from 'node:util'
import type { Advert } from '../../protocols/advert.ts'
import { rhythmOf } from './rhythm.ts'

/** What a node has to say of itself, without the number of the version. */
export type OwnAdvert = Omit<Advert, 'version'>

/** Changes are told ten times a second at most; those in between go together. */
const changeMs = 100
/** The load and the use of the store never stand still: only steps of this share are a change. */
const loadStep = 0.25
const storeStep = 0.05

/**
 * Decides when this node tells the others how it stands: soon after a change, and every few seconds at rest. Counts the
 * versions.
 *
 * Pure: no clock, no timers.
 *
 * @example
 * const source = new AdvertSource(startedAtMs)
 * const advert = source.offer(state(), now, view.size) // on every change, and a few times a second
 * if (advert !== undefined) publish(advert)
 */
export class AdvertSource {
  #version: number
  #told: OwnAdvert | undefined
  #toldAtMs = Number.NEGATIVE_INFINITY
  #hasMore = false

  /** @param startedAtMs the time of the node's start: later starts count on from higher numbers */
  constructor(startedAtMs: number) {
    this.#version = startedAtMs
  }

  /** The last offer came too soon after the one before: it is to be made again. */
  get hasMore(): boolean {
    return this.#hasMore
  }

  /** What to publish now; undefined when nothing is due yet. */
  offer(state: OwnAdvert, nowMs: number, nodeCount: number): Advert | undefined {
    const sinceMs = nowMs - this.#toldAtMs
    this.#hasMore = sinceMs < changeMs
    if (this.#hasMore) return undefined
    if (sinceMs < rhythmOf(nodeCount).restMs && this.#told !== undefined && !isChange(this.#told, state)) {
      return undefined
    }
    this.#told = state
    this.#toldAtMs = nowMs
    return this.next(state)
  }

  /** The state for one node that asks, with a version of its own. The others are told in their time nevertheless. */
  next(state: OwnAdvert): Advert {
    return { ...state, version: ++this.#version }
  }

  /** The next offer is published as soon as the rate allows, even if nothing in it is new: somebody may not know it. */
  tellAgain(): void {
    this.#told = undefined
  }
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
