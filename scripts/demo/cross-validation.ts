import { shuffled } from './seeded-random.ts'
import type { Digits } from './digits.ts'

export const foldCount = 5

/** The digits, and in which part of the cross-validation each is the one to be recognised. */
export interface FoldedDigits extends Digits {
  /** The fold of each image, 0 to `foldCount` - 1. */
  folds: Uint8Array
}

/** Images and what they show, as libsvm takes them. */
export interface Samples {
  images: Float64Array[]
  labels: number[]
}

/** Deals the images to folds so that each fold has as many of every digit as the next, give or take one. */
export function foldDigits(digits: Digits, random: () => number): FoldedDigits {
  const folds = new Uint8Array(digits.labels.length)
  const byLabel = Map.groupBy(digits.labels.keys(), (row) => digits.labels[row] as number)
  let next = 0
  for (const rows of byLabel.values()) {
    for (const row of shuffled(rows, random)) folds[row] = next++ % foldCount
  }
  return { ...digits, folds }
}

/** The images of one fold to be recognised, and all others to learn from. */
export function splitFold(digits: FoldedDigits, fold: number): { training: Samples; testing: Samples } {
  const training: Samples = { images: [], labels: [] }
  const testing: Samples = { images: [], labels: [] }
  const { features, featureCount, labels, folds } = digits
  for (const [row, label] of labels.entries()) {
    const samples = folds[row] === fold ? testing : training
    samples.images.push(features.subarray(row * featureCount, (row + 1) * featureCount))
    samples.labels.push(label)
  }
  return { training, testing }
}
