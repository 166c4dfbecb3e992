import { setTimeout as delay } from 'node:timers/promises'
import type { NodeClient } from '../../node/cli/node-client.ts'
import { put, type ObjectRef } from '../../sdk/index.ts'
import { BenchMesh } from './bench-mesh.ts'
import type { Benchmark } from './benchmark.ts'
import { cpuSeconds, ownBytes, peakBytes } from './processes.ts'
import type { Result, Unit } from './result.ts'

const mebibyte = 2 ** 20
const objects = 10_000
/** A little more than what travels inside messages. */
const bytes = 103_000
const putsPerTurn = 100
const lookups = 1000
const misses = 50
const lookMs = 20

/** What is measured, in the order of the table. */
const units = {
  'put all': 's',
  'the last one found from another node, after the last put': 's',
  'CPU of all nodes meanwhile': 's',
  'largest node at its peak, with its store': 'MiB',
  'largest node at the end, without its store': 'MiB',
  'lookups that hit': 'ratio',
  'lookup, median': 'ms',
  'lookup, 99th percentile': 'ms',
  'lookup of what is nowhere, median': 'ms',
} as const satisfies Record<string, Unit>
type Figures = Record<keyof typeof units, number>

/** Many objects that one node holds, and makes known, and that are looked up from another. */
export const directoryBenchmark: Benchmark = {
  name: 'directory',
  async measure({ rounds, nodes }) {
    const results: Result[] = []
    for (const count of nodes === undefined ? [3, 10] : [nodes]) {
      const figures: Figures[] = []
      for (let round = 0; round < rounds; round++) figures.push(await measureDirectory(count))
      results.push({ name: `directory of ${count} nodes, ${objects} objects on one`, unit: 'count', values: [objects] })
      for (const [name, unit] of Object.entries(units) as [keyof Figures, Unit][]) {
        results.push({ name: `  ${name} (${count} nodes)`, unit, values: figures.map((each) => each[name]) })
      }
    }
    return results
  },
}

async function measureDirectory(nodes: number): Promise<Figures> {
  await using mesh = await BenchMesh.start({ nodes, storeBytesMax: 2 * objects * bytes, cpus: [0] })
  const far = mesh.clients.at(-1) as NodeClient
  const pids = mesh.nodes.map(({ pid }) => pid)
  const cpuOfAll = async (): Promise<number> =>
    (await Promise.all(pids.map(cpuSeconds))).reduce((sum, each) => sum + each, 0)

  const cpuBefore = await cpuOfAll()
  const startedAt = performance.now()
  const refs = await putAll()
  const putAt = performance.now()
  const idOf = (index: number): string => (refs[index] as ObjectRef).id
  while (!(await lookUp(far, idOf(objects - 1))).isFound) await delay(lookMs)
  const foundAt = performance.now()
  const cpuAfter = await cpuOfAll()

  // All over them, none twice.
  const found = []
  for (let i = 0; i < lookups; i++) found.push(await lookUp(far, idOf((i * 37) % objects)))
  const missed = []
  for (let i = 0; i < misses; i++) missed.push(await lookUp(far, i.toString(16).padStart(44, 'f')))
  const peaks = await Promise.all(pids.map(peakBytes))
  const own = await Promise.all(pids.map(ownBytes))
  return {
    'put all': (putAt - startedAt) / 1000,
    'the last one found from another node, after the last put': (foundAt - putAt) / 1000,
    'CPU of all nodes meanwhile': cpuAfter - cpuBefore,
    'largest node at its peak, with its store': Math.max(...peaks) / mebibyte,
    'largest node at the end, without its store': Math.max(...own) / mebibyte,
    'lookups that hit': found.filter(({ isFound }) => isFound).length / lookups,
    'lookup, median': quantile(found, 0.5),
    'lookup, 99th percentile': quantile(found, 0.99),
    'lookup of what is nowhere, median': quantile(missed, 0.5),
  }
}

async function putAll(): Promise<ObjectRef[]> {
  const value = new Uint8Array(bytes)
  const refs: ObjectRef[] = []
  for (let i = 0; i < objects; i++) {
    refs.push(put(value))
    if (i % putsPerTurn === 0) await delay(0)
  }
  return refs
}

interface Lookup {
  isFound: boolean
  ms: number
}

async function lookUp(client: NodeClient, id: string): Promise<Lookup> {
  const { holders, ms } = await client.call('objectLocate', { id })
  return { isFound: holders.length > 0, ms }
}

function quantile(lookedUp: readonly Lookup[], share: number): number {
  const times = lookedUp.map(({ ms }) => ms).toSorted((a, b) => a - b)
  return times[Math.floor(times.length * share)] ?? Number.NaN
}
