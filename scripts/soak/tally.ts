import { ShoalError } from '../../sdk/index.ts'

/** What has happened in a soak, in numbers. */
export class Tally {
  objects = 0
  scenes = 0
  readonly kills = { workers: 0, nodes: 0 }
  /** Errors that the load allows for, by their codes: what was lost had to be. */
  readonly errors: Record<string, number> = {}

  /** Counts an error that is one of these. Throws it when it is not. */
  allow(error: unknown, ...codes: readonly string[]): void {
    if (!(error instanceof ShoalError) || !codes.includes(error.code)) throw error
    this.errors[error.code] = (this.errors[error.code] ?? 0) + 1
  }
}
