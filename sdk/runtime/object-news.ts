import type { MessageBody } from '../../protocols/messages.ts'

type Told = MessageBody<'objectNews'>

const delayMs = 500
const reasonCharsMax = 500

/** Tells the node of objects that were lost, or made again: for people to read, so many together. */
export class ObjectNews {
  readonly #after: (delayMs: number, callback: () => void) => void
  readonly #send: (told: Told) => void
  #news: Told | undefined

  constructor(after: (delayMs: number, callback: () => void) => void, send: (told: Told) => void) {
    this.#after = after
    this.#send = send
  }

  /** @param what `lost` is for good */
  tell(what: 'lost' | 'remade', object: string, reason: string): void {
    if (this.#news === undefined) {
      this.#news = { lost: 0, remade: 0, object, reason: reason.slice(0, reasonCharsMax) }
      this.#after(delayMs, () => this.#flush())
    }
    this.#news[what] += 1
  }

  #flush(): void {
    if (this.#news !== undefined) this.#send(this.#news)
    this.#news = undefined
  }
}
