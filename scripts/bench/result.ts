export type Unit = 'per s' | 'GiB/s' | 'MiB/s' | 'ratio' | 'times' | 's' | 'ms' | 'us' | 'MiB' | 'count'

/** One line of the table. */
export interface Result {
  name: string
  unit: Unit
  /** One value for each round. */
  values: number[]
}

/** What a run of the benchmark writes with `--json`. */
export interface BenchRun {
  machine: Record<string, string | number>
  rounds: number
  results: Result[]
}

/** Rates and ratios are better when higher; times, sizes, and how many times as long something takes when lower. */
export function isHigherBetter(unit: Unit): boolean {
  return unit === 'per s' || unit === 'GiB/s' || unit === 'MiB/s' || unit === 'ratio'
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}
