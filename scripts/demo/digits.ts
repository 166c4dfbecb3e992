import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'

const file = new URL('./data/digits.csv.gz', import.meta.url)

/** Images of handwritten digits and what they show. */
export interface Digits {
  /** All images one after the other, `featureCount` numbers each, 0 to 16. */
  features: Float64Array
  featureCount: number
  /** The digit of each image. */
  labels: Uint8Array
}

/** Reads the 1,797 digits that come with the demo. */
export async function loadDigits(): Promise<Digits> {
  const text = (await promisify(gunzip)(await readFile(file))).toString('latin1')
  return parseDigits(text)
}

/** Reads lines of numbers whose last is the label. Throws when a line has another length than the first, or no numbers. */
export function parseDigits(text: string): Digits {
  const rows = text
    .trimEnd()
    .split('\n')
    .map((line) => line.split(',').map(Number))
  const featureCount = (rows[0]?.length ?? 0) - 1
  const features = new Float64Array(rows.length * featureCount)
  const labels = new Uint8Array(rows.length)
  for (const [i, row] of rows.entries()) {
    if (row.length !== featureCount + 1 || !row.every(Number.isFinite)) {
      throw new Error(`line ${i + 1} of the digits is not ${featureCount + 1} numbers`)
    }
    features.set(row.slice(0, featureCount), i * featureCount)
    labels[i] = row[featureCount] as number
  }
  return { features, featureCount, labels }
}
