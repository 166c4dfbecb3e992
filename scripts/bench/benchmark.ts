import type { Result } from './result.ts'

export interface MeasureOptions {
  rounds: number
  /** Of the values that go from node to node. */
  mib: number
  /** How many nodes, where that can be chosen. */
  nodes?: number
  /** Runs the part that is measured, under the profiler when that was asked for. */
  profiled<T>(work: () => Promise<T>): Promise<T>
}

export interface Benchmark {
  name: string
  /** Measures on a node of its own. May give several lines. */
  measure(options: MeasureOptions): Promise<Result[]>
}
