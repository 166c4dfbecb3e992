/** One choice of the support vector machine's parameters. */
export interface Candidate {
  /** What a wrongly placed training image costs. */
  C: number
  /** How fast the influence of an image falls with the distance. */
  gamma: number
  /** When the training stops. */
  tol: number
  /** Whether rare classes weigh more. */
  classWeight: 'balanced' | 'none'
}

const axes = {
  C: logSpace(-6, 6, 30),
  gamma: logSpace(-8, 8, 30),
  tol: logSpace(-4, -1, 30),
  classWeight: ['none', 'balanced'] as const,
}

const sizes = Object.values(axes).map((axis) => axis.length)

/** How many different candidates there are. */
export const candidatesMax = sizes.reduce((product, size) => product * size, 1)

/** Draws that many different candidates, each as likely as any other. */
export function drawCandidates(count: number, random: () => number): Candidate[] {
  if (count > candidatesMax) throw new RangeError(`there are only ${candidatesMax} candidates; ${count} were asked for`)
  const drawn = new Set<number>()
  while (drawn.size < count) drawn.add(Math.floor(random() * candidatesMax))
  return [...drawn].map(candidateAt)
}

function candidateAt(index: number): Candidate {
  let rest = index
  const [c, gamma, tol, weight] = sizes.map((size) => {
    const place = rest % size
    rest = Math.floor(rest / size)
    return place
  }) as [number, number, number, number]
  return {
    C: axes.C[c] as number,
    gamma: axes.gamma[gamma] as number,
    tol: axes.tol[tol] as number,
    classWeight: axes.classWeight[weight] as Candidate['classWeight'],
  }
}

/** `count` numbers from 10^from to 10^to, each the same multiple of the one before, in six digits. */
export function logSpace(from: number, to: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    return Number((10 ** (from + ((to - from) * i) / (count - 1))).toPrecision(6))
  })
}
