import SVM from 'libsvm-js/asm.js'
import { splitFold, type FoldedDigits } from './cross-validation.ts'
import type { Candidate } from './search-space.ts'

export interface FoldResult {
  /** The share of the fold's images that were recognised. */
  accuracy: number
  /** How long training and recognising took, where it was done. */
  elapsedMs: number
}

/**
 * Trains a support vector machine on all folds but one and tries it on that one. A plain function that knows nothing of
 * Shoal: the search sends it to the workers as it is.
 *
 * It uses libsvm compiled to plain JavaScript. The WebAssembly build of the package is nearly twice as fast, but reads a
 * file from its own folder, which a worker elsewhere does not have.
 */
export function evaluateFold(digits: FoldedDigits, candidate: Candidate, fold: number): FoldResult {
  const startedAt = performance.now()
  const { training, testing } = splitFold(digits, fold)
  const machine = new SVM({
    type: SVM.SVM_TYPES.C_SVC,
    kernel: SVM.KERNEL_TYPES.RBF,
    cost: candidate.C,
    gamma: candidate.gamma,
    tolerance: candidate.tol,
    quiet: true,
    ...(candidate.classWeight === 'balanced' && { weight: balancedWeights(training.labels) }),
  })
  try {
    machine.train(training.images, training.labels)
    const answers = machine.predict(testing.images)
    const right = answers.filter((answer, i) => answer === testing.labels[i]).length
    return { accuracy: right / answers.length, elapsedMs: performance.now() - startedAt }
  } finally {
    machine.free()
  }
}

/**
 * Weights by which every class counts the same in sum: images / (classes × images of the class). In five digits, since
 * libsvm-js passes all options as one text and ends the process when that is longer than some 300 characters.
 */
export function balancedWeights(labels: readonly number[]): Record<number, number> {
  const counts = new Map<number, number>()
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1)
  const weights = [...counts].map(([label, count]) => [label, labels.length / (counts.size * count)] as const)
  return Object.fromEntries(weights.map(([label, weight]) => [label, Number(weight.toPrecision(5))]))
}
