import type { OutgoingValue } from '../store/transfer-store.ts'

/** A value that stays where it lies in memory while the other end of a stream reads it there, but not for ever. */
export class HeldValue {
  #value: OutgoingValue | undefined
  #timer: NodeJS.Timeout | undefined

  hold(value: OutgoingValue, timeoutMs: number): void {
    this.release()
    this.#value = value
    this.#timer = setTimeout(() => this.release(), timeoutMs).unref()
  }

  release(): void {
    clearTimeout(this.#timer)
    this.#value?.close()
    this.#value = undefined
  }
}
