import { f64, list, shownText, string, struct, u32, type Codec } from './schema.ts'

/** What is known of a worker that was ended because memory ran out. */
export interface OutOfMemoryDetails {
  /** The node on whose machine it was. */
  readonly node: string
  readonly usedBytes: number
  /** From here on workers are ended. */
  readonly limitBytes: number
  readonly totalBytes: number
  /** What the worker had to itself, with all that it had started; 0 when the system was faster, so that nobody knows. */
  readonly rssBytes: number
  /** The largest workers of the node, this one included if it is one of them; none when the system was faster. */
  readonly workers: { readonly pid: number; readonly label: string; readonly rssBytes: number }[]
}

export const outOfMemoryDetails: Codec<OutOfMemoryDetails> = struct({
  node: string(64),
  usedBytes: f64,
  limitBytes: f64,
  totalBytes: f64,
  rssBytes: f64,
  workers: list(struct({ pid: u32, label: shownText(1024), rssBytes: f64 }), 16),
})
