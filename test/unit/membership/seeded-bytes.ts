import { seededRandom } from '../../support/seeded-random.ts'

/** Random bytes that are the same for the same seed. */
export function seededBytes(seed: number): (count: number) => Uint8Array {
  const random = seededRandom(seed)
  return (count) => Uint8Array.from({ length: count }, () => Math.floor(random() * 256))
}
