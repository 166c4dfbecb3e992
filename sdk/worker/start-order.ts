import type { ClientId } from '../../protocols/ids.ts'

/** One call's place in the order of its caller's. */
export interface Turn {
  /** Resolves when no call before it is still to begin. Undefined when none is. */
  readonly before: Promise<void> | undefined
  /** It has begun, or will not, or is not to be waited for. */
  taken(): void
}

/** Has calls that run at the same time begin in the order of their callers, although their arguments come when they will. */
export class StartOrder {
  /** Of each caller's calls that have yet to begin, the last. */
  readonly #last = new Map<ClientId, Promise<void>>()

  /** Whether a call of this caller has yet to begin. */
  isAhead(caller: ClientId): boolean {
    return this.#last.size > 0 && this.#last.has(caller)
  }

  /** Lines up behind the calls of this caller that have yet to begin. */
  turn(caller: ClientId): Turn {
    const before = this.#last.get(caller)
    const { promise, resolve } = Promise.withResolvers<void>()
    // Whoever is behind waits for those before it, too: also when this one does not.
    const passed = before === undefined ? promise : Promise.all([before, promise]).then(() => undefined)
    this.#last.set(caller, passed)
    void passed.then(() => {
      if (this.#last.get(caller) === passed) this.#last.delete(caller)
    })
    return { before, taken: resolve }
  }
}
