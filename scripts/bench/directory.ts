import { setTimeout as delay } from 'node:timers/promises'
import type { NodeClient } from '../../node/cli/node-client.ts'
import { get, put, remote, type ObjectRef } from '../../sdk/index.ts'
import { BenchMesh } from './bench-mesh.ts'
import type { Benchmark } from './benchmark.ts'
import { cpuSeconds, ownBytes, peakBytes } from './processes.ts'
import type { Result, Unit } from './result.ts'

const mebibyte = 2 ** 20
const objects = 10_000
/** A little more than what travels inside messages. */
const bytes = 103_000
const putsPerTurn = 100
/** Enough for a reader to look at it where it lies, so that it stays for as long. */
const orphanBytes = 300_000
const lookups = 1000
const misses = 50
const lookMs = 20
const waitMs = 60_000

/** What is measured, in the order of the table. */
const units = {
  'put all': 's',
  'the last one found from another node, after the last put': 's',
  'CPU of all nodes meanwhile': 's',
  'largest node at its peak, with its store': 'MiB',
  'largest node at the end, without its store': 'MiB',
  'lookups of values of a dead process that find the copy': 'ratio',
  'lookup, median': 'ms',
  'lookup, 95th percentile': 'ms',
  'lookup, 99th percentile': 'ms',
  'CPU of all nodes for a lookup': 'ms',
  'lookup of what is nowhere, median': 'ms',
} as const satisfies Record<string, Unit>
type Figures = Record<keyof typeof units, number>

interface Made {
  pid: number
  refs: ObjectRef<Uint8Array>[]
}

const makeMany = remote(
  (count: number, size: number): Made => ({
    pid: process.pid,
    refs: Array.from({ length: count }, () => put(new Uint8Array(size))),
  }),
  { name: 'makeMany' },
)

/**
 * Many objects that one node holds, and makes known; then values whose owner has died, of which there is a copy on another node
 * than the one that made them, looked up from a third by their ids alone.
 */
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
  await using mesh = await BenchMesh.start({ nodes, storeBytesMax: 2 * objects * bytes, cpus: [0, 1, 0] })
  const far = mesh.clients.at(-1) as NodeClient
  const pids = mesh.nodes.map(({ pid }) => pid)
  const cpuOfAll = async (): Promise<number> =>
    (await Promise.all(pids.map(cpuSeconds))).reduce((sum, each) => sum + each, 0)

  const cpuAtStart = await cpuOfAll()
  const startedAt = performance.now()
  const refs = await putAll()
  const putAt = performance.now()
  await foundAt(far, refs.at(-1) as ObjectRef, () => true)
  const lastFoundAt = performance.now()
  const cpuAtEnd = await cpuOfAll()

  const { ids, views } = await orphans(mesh, far)
  const cpuBefore = await cpuOfAll()
  const found = []
  for (const id of ids) found.push(await lookUp(far, id))
  const cpuAfter = await cpuOfAll()
  const missed = []
  for (let i = 0; i < misses; i++) missed.push(await lookUp(far, i.toString(16).padStart(44, 'f')))
  const peaks = await Promise.all(pids.map(peakBytes))
  const own = await Promise.all(pids.map(ownBytes))
  return {
    'put all': (putAt - startedAt) / 1000,
    'the last one found from another node, after the last put': (lastFoundAt - putAt) / 1000,
    'CPU of all nodes meanwhile': cpuAtEnd - cpuAtStart,
    'largest node at its peak, with its store': Math.max(...peaks) / mebibyte,
    'largest node at the end, without its store': Math.max(...own) / mebibyte,
    'lookups of values of a dead process that find the copy':
      found.filter(({ holders }) => String(holders) === mesh.nodes[0]?.nodeId).length / views.length,
    'lookup, median': quantile(found, 0.5),
    'lookup, 95th percentile': quantile(found, 0.95),
    'lookup, 99th percentile': quantile(found, 0.99),
    'CPU of all nodes for a lookup': ((cpuAfter - cpuBefore) * 1000) / ids.length,
    'lookup of what is nowhere, median': quantile(missed, 0.5),
  }
}

/** Values that a process on the second node has made, which is dead now. What is left of them are the copies that are looked at here. */
async function orphans(mesh: BenchMesh, far: NodeClient): Promise<{ ids: string[]; views: Uint8Array[] }> {
  const { pid, refs } = await get(makeMany.remote(lookups, orphanBytes))
  const views = await get(refs)
  process.kill(pid, 'SIGKILL')
  for (const ref of refs) await foundAt(far, ref, (holders) => String(holders) === mesh.nodes[0]?.nodeId)
  return { ids: refs.map(({ id }) => id), views }
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
  holders: string[]
  ms: number
}

async function lookUp(client: NodeClient, id: string): Promise<Lookup> {
  const { holders, ms } = await client.call('objectLocate', { id })
  return { holders: holders.map(({ node }) => node), ms }
}

/** Waits until an object is found, where it is to be. */
async function foundAt(
  client: NodeClient,
  { id }: ObjectRef,
  isRight: (holders: readonly string[]) => boolean,
): Promise<void> {
  for (const end = Date.now() + waitMs; ;) {
    const { holders } = await lookUp(client, id)
    if (holders.length > 0 && isRight(holders)) return
    if (Date.now() > end) throw new Error(`${id} is found at [${holders.join(', ')}] after ${waitMs} ms`)
    await delay(lookMs)
  }
}

function quantile(lookedUp: readonly Lookup[], share: number): number {
  const times = lookedUp.map(({ ms }) => ms).toSorted((a, b) => a - b)
  return times[Math.floor(times.length * share)] ?? Number.NaN
}
