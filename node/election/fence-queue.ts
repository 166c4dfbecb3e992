import { compareTerms, type Term } from '../../protocols/election.ts'

/**
 * Which term to write next: one at a time, of those that wait only the highest, and none below one that is on the disk.
 *
 * Pure: whoever has it does the writing. Whatever is asked for while a higher term is on its way is covered by that one.
 */
export class FenceQueue {
  #writing: Term | undefined
  #waiting: Term | undefined
  #written: Term | undefined

  /** A term is to be on the disk. Gives the one to be written now; undefined when it has to wait. */
  want(term: Term): Term | undefined {
    this.#waiting = higher(this.#waiting, term)
    return this.#next()
  }

  /** The write that was under way has ended. Gives the next term to be written, if any. */
  ended(isWritten: boolean): Term | undefined {
    if (isWritten) this.#written = this.#writing
    this.#writing = undefined
    return this.#next()
  }

  #next(): Term | undefined {
    const term = this.#waiting
    if (this.#writing !== undefined || term === undefined) return undefined
    this.#waiting = undefined
    if (this.#written !== undefined && compareTerms(term, this.#written) < 0) return undefined
    this.#writing = term
    return term
  }
}

function higher(a: Term | undefined, b: Term): Term {
  return a !== undefined && compareTerms(a, b) > 0 ? a : b
}
