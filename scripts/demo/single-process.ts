import type { FoldedDigits } from './cross-validation.ts'
import type { FoldRun } from './search.ts'
import { shuffled } from './seeded-random.ts'
import { evaluateFold } from './svm.ts'

export interface SingleProcessTime {
  /** How long all folds take, one after the other, in this process. */
  elapsedMs: number
  /** How many folds were really run for it; fewer than there are: the rest is estimated. */
  measured: number
}

/**
 * Tells how long the same folds take in this one process, from a random sample of them. The sample's time is scaled by how
 * much longer all folds took on the workers than those of the sample, since candidates differ much in cost.
 */
export function timeSingleProcess(
  digits: FoldedDigits,
  runs: readonly FoldRun[],
  sampleSize: number,
  random: () => number,
): SingleProcessTime {
  const sample = shuffled(runs, random).slice(0, sampleSize)
  const [first] = sample
  if (first === undefined) throw new RangeError('there are no folds to measure')
  // Not timed: loading and compiling libsvm happens once in every process.
  evaluateFold(digits, first.candidate, first.fold)
  const startedAt = performance.now()
  for (const { candidate, fold, accuracy } of sample) {
    const here = evaluateFold(digits, candidate, fold)
    if (here.accuracy !== accuracy) {
      throw new Error(`a worker says ${accuracy} for fold ${fold}, this process ${here.accuracy}: one of them is wrong`)
    }
  }
  const sampleMs = performance.now() - startedAt
  return { elapsedMs: (sampleMs * workerMs(runs)) / workerMs(sample), measured: sample.length }
}

function workerMs(runs: readonly FoldRun[]): number {
  return runs.reduce((sum, run) => sum + run.elapsedMs, 0)
}
