import { foldCount } from './cross-validation.ts'
import type { Scored } from './search.ts'
import type { Candidate } from './search-space.ts'

interface Output {
  write(text: string): unknown
  isTTY?: boolean
  columns?: number
}

const barWidth = 24

/** Shows how far the search is: one line that changes on a terminal, a line for each candidate elsewhere. */
export class Progress {
  readonly #output: Output
  readonly #startedAt = performance.now()
  #done = 0
  #total = 0
  #candidates = 0
  #best: Scored | undefined

  constructor(output: Output) {
    this.#output = output
  }

  onFold(done: number, total: number): void {
    this.#done = done
    this.#total = total
    if (this.#output.isTTY === true) this.#draw()
  }

  onCandidate(scored: Scored): void {
    this.#candidates++
    const isBest = this.#best === undefined || scored.accuracy > this.#best.accuracy
    if (isBest) this.#best = scored
    if (this.#output.isTTY === true) return
    const { candidate, accuracy } = scored
    const place = `${this.#candidates}/${this.#total / foldCount}`.padStart(7)
    this.#output.write(
      `${place}  ${showAccuracy(accuracy)}  ${showCandidate(candidate)}${isBest ? '  best so far' : ''}\n`,
    )
  }

  /** Leaves the terminal's line to what comes next. */
  end(): void {
    if (this.#output.isTTY === true && this.#done > 0) this.#output.write('\n')
  }

  #draw(): void {
    const filled = Math.round((this.#done / this.#total) * barWidth)
    const bar = `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)}`
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(0)
    const best = this.#best
    const found = best === undefined ? '' : `  best ${showAccuracy(best.accuracy)} ${showCandidate(best.candidate)}`
    const line = `${bar} ${this.#done}/${this.#total} folds  ${seconds} s${found}`
    // Some terminals do not tell their width, or say 0.
    const width = this.#output.columns || 80
    this.#output.write(`\r\u001B[2K${line.slice(0, width - 1)}`)
  }
}

export function showCandidate({ C, gamma, tol, classWeight }: Candidate): string {
  const numbers = Object.entries({ C, gamma, tol }).map(([name, value]) => `${name}=${value.toPrecision(3)}`)
  return `${numbers.join(' ')} classWeight=${classWeight}`
}

export function showAccuracy(accuracy: number): string {
  return `${(accuracy * 100).toFixed(2)} %`
}
