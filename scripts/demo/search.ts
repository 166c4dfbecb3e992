import { get, put, remote, taskContext, wait } from '../../sdk/index.ts'
import { foldCount, type FoldedDigits } from './cross-validation.ts'
import type { Candidate } from './search-space.ts'
import { evaluateFold, type FoldResult } from './svm.ts'

/** One task: how a candidate did on one fold. */
export interface FoldRun extends FoldResult {
  candidate: Candidate
  fold: number
  /** The node that ran it. */
  node: string
}

/** A candidate whose folds are all done. */
export interface Scored {
  candidate: Candidate
  /** The mean over its folds. */
  accuracy: number
}

export interface SearchEvents {
  onFold?: (done: number, total: number) => void
  onCandidate?: (scored: Scored) => void
}

export interface SearchResult {
  runs: FoldRun[]
  /** Every candidate, the most accurate first. */
  scored: Scored[]
  /** From the first call to the last result. */
  elapsedMs: number
}

/**
 * Evaluates the candidates on the mesh that this program is attached to: each fold of each candidate is a task. The
 * digits are put once, and every task is given the ref.
 */
export async function search(
  digits: FoldedDigits,
  candidates: readonly Candidate[],
  { onFold, onCandidate }: SearchEvents = {},
): Promise<SearchResult> {
  const startedAt = performance.now()
  const data = put(digits)
  const fold = remote(
    (of: FoldedDigits, candidate: Candidate, number: number) => ({
      ...evaluateFold(of, candidate, number),
      node: taskContext().nodeId,
    }),
    { name: 'fold' },
  )
  const tasks = new Map(
    candidates.flatMap((candidate) =>
      Array.from({ length: foldCount }, (_, number) => [
        fold.remote(data, candidate, number),
        { candidate, fold: number },
      ]),
    ),
  )

  const runs: FoldRun[] = []
  const scored: Scored[] = []
  const accuracies = new Map<Candidate, number[]>()
  let pending = [...tasks.keys()]
  while (pending.length > 0) {
    const next = await wait(pending, { count: 1 })
    pending = next.pending
    for (const ref of next.ready) {
      const task = tasks.get(ref) as { candidate: Candidate; fold: number }
      const run = { ...task, ...(await get(ref)) }
      runs.push(run)
      onFold?.(runs.length, tasks.size)
      const known = [...(accuracies.get(run.candidate) ?? []), run.accuracy]
      accuracies.set(run.candidate, known)
      if (known.length === foldCount) {
        scored.push({ candidate: run.candidate, accuracy: mean(known) })
        onCandidate?.(scored.at(-1) as Scored)
      }
    }
  }
  scored.sort((a, b) => b.accuracy - a.accuracy)
  return { runs, scored, elapsedMs: performance.now() - startedAt }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
