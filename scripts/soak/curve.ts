import type { Tally } from './tally.ts'
import { privateBytes, type NodeState } from './watch.ts'

const mebibyte = 2 ** 20

/** How the nodes and this program were at one time. */
export interface Sample {
  seconds: number
  objects: number
  killed: { workers: number; nodes: number }
  /** `undefined`: it was away. */
  nodes: (NodeSample | undefined)[]
  /** Private memory of this program, the driver. */
  driverMiB: number
}

export interface NodeSample {
  objects: number
  usedMiB: number
  spilledMiB: number
  /** Of the node's process, shared memory included. */
  residentMiB: number
  /** The same without what it shares with others. */
  privateMiB: number
  /** Private memory of all of its workers. */
  workersMiB: number
}

export function sampleOf(seconds: number, { objects, kills }: Tally, nodes: readonly NodeState[]): Sample {
  return {
    seconds: Math.round(seconds),
    objects,
    killed: { ...kills },
    nodes: nodes.map((state) => state && nodeSample(state)),
    driverMiB: inMiB(privateBytes(process.pid)),
  }
}

function nodeSample({ node, workers, store }: NonNullable<NodeState>): NodeSample {
  const ofWorkers = workers.map(({ pid }) => privateBytes(pid)).filter((bytes) => !Number.isNaN(bytes))
  return {
    objects: store.objects,
    usedMiB: inMiB(store.usedBytes),
    spilledMiB: inMiB(store.spilled.bytes),
    residentMiB: inMiB(node.residentBytes),
    privateMiB: inMiB(privateBytes(node.pid)),
    workersMiB: inMiB(ofWorkers.reduce((sum, bytes) => sum + bytes, 0)),
  }
}

const inMiB = (bytes: number): number => Math.round((bytes / mebibyte) * 10) / 10

const widths = [7, 9, 9, 15, 18, 18, 18, 18, 18, 7]

function row(cells: readonly string[]): string {
  return cells.map((cell, i) => cell.padStart(widths[i] ?? 0)).join('  ')
}

export const heading = row([
  'seconds',
  'objects',
  'killed',
  'stored',
  'MiB used',
  'MiB spilled',
  'MiB resident',
  'MiB private',
  'MiB of workers',
  'driver',
])

/** A line of the curve; one number for each node where there are several. Killed: workers + nodes. */
export function line({ seconds, objects, killed, nodes, driverMiB }: Sample): string {
  const each = (key: keyof NodeSample): string =>
    nodes.map((node) => (node === undefined ? '-' : node[key].toFixed(0))).join(' / ')
  return row([
    String(seconds),
    String(objects),
    `${killed.workers} + ${killed.nodes}`,
    each('objects'),
    each('usedMiB'),
    each('spilledMiB'),
    each('residentMiB'),
    each('privateMiB'),
    each('workersMiB'),
    driverMiB.toFixed(0),
  ])
}

/** What the private memory of a process was in the middle of a run, and at its end. */
export interface Growth {
  ofWhat: string
  fromMiB: number
  toMiB: number
}

/** A shorter run says nothing: programs and their engines take a while to have what they need. */
const sampleCountMin = 40
const shareMax = 0.25
const mebibytesMax = 64

/**
 * Whether the memory of those who live all the time (the driver, and its node) stays what it is: the second quarter of the
 * run against the last. Undefined when the run was too short to tell.
 */
export function growthOf(samples: readonly Sample[]): Growth[] | undefined {
  if (samples.length < sampleCountMin) return undefined
  const quarter = Math.floor(samples.length / 4)
  const typical = (part: readonly Sample[], of: (sample: Sample) => number): number =>
    part.map(of).toSorted((a, b) => a - b)[part.length >> 1] as number
  const growth = (ofWhat: string, of: (sample: Sample) => number): Growth => ({
    ofWhat,
    fromMiB: typical(samples.slice(quarter, 2 * quarter), of),
    toMiB: typical(samples.slice(-quarter), of),
  })
  return [
    growth('the driver', ({ driverMiB }) => driverMiB),
    growth("the driver's node", ({ nodes }) => nodes[0]?.privateMiB ?? 0),
  ]
}

export function isFlat({ fromMiB, toMiB }: Growth): boolean {
  return toMiB - fromMiB <= Math.max(mebibytesMax, fromMiB * shareMax)
}
