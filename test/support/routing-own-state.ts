import type { LeaseBook } from '../../node/leases/lease-book.ts'
import type { Advert } from '../../protocols/advert.ts'
import type { Labels } from '../../protocols/scheduling.ts'
import { simulatedAdvert } from './routing-advert.ts'

const changeMs = 100
const restMs = 2_000

/** What a simulated node says of itself, and when. */
export class SimulatedOwnState {
  readonly #of: { readonly node: string; readonly startedAtMs: number; readonly labels: Labels }
  readonly #book: LeaseBook
  #version: number
  #told = ''
  #toldAtMs = -Infinity

  constructor(of: { node: string; startedAtMs: number; labels: Labels }, book: LeaseBook) {
    this.#of = of
    this.#book = book
    this.#version = of.startedAtMs * 1000
  }

  now(): Advert {
    const gpus = Array.from(this.#book.gpusFree().values(), (free) => (free === 1 ? {} : { free }))
    return simulatedAdvert({ ...this.#of, version: ++this.#version, ...this.#book.load(), gpus })
  }

  /** What is due to be told to all; undefined when nothing is. To be asked every now and then. */
  due(nowMs: number): Advert | undefined {
    const sinceMs = nowMs - this.#toldAtMs
    const state = JSON.stringify(this.#book.load())
    if (sinceMs < changeMs || (state === this.#told && sinceMs < restMs)) return undefined
    this.#told = state
    this.#toldAtMs = nowMs
    return this.now()
  }
}
