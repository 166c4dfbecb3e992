import { setTimeout as delay } from 'node:timers/promises'
import type { NodeClient } from '../../node/cli/node-client.ts'
import { get, remote, type ObjectRef } from '../../sdk/index.ts'
import { BenchMesh, type BenchNode } from './bench-mesh.ts'
import type { Benchmark } from './benchmark.ts'
import type { Result } from './result.ts'

const mebibyte = 2 ** 20
const transferMs = 20_000
const lookMs = 20

const makeValue = remote((bytes: number) => new Uint8Array(bytes).fill(1), { name: 'makeValue' })
const readValue = remote((value: Uint8Array) => value.length, { name: 'readValue' })

/**
 * Whether a mesh keeps its head while values go between the head and another node without a pause. The nodes are asked all
 * the time who it is: how long the slowest answer takes says for how long a node was kept from everything else.
 */
export const rhythmBenchmark: Benchmark = {
  name: 'rhythm under transfers',
  async measure({ rounds, mib, profiled }) {
    const bytes = mib * mebibyte
    await using mesh = await BenchMesh.start({ nodes: 3, storeBytesMax: 4 * bytes, cpus: [1], handOver: false })
    const head = (await mesh.clients[0]?.call('meshInfo', {}))?.head
    const ends = mesh.nodes.toSorted((a, b) => Number(b.nodeId === head) - Number(a.nodeId === head))
    const [from, to] = ends as [BenchNode, BenchNode]

    const figures: { rate: number; heads: number; slowestMs: number; calmMs: number }[] = []
    await profiled(async () => {
      for (let round = 0; round < rounds; round++) {
        const calm = await watch(mesh.clients, () => delay(transferMs / 4))
        let sent = 0
        const busy = await watch(mesh.clients, async () => {
          const until = performance.now() + transferMs
          for (; performance.now() < until; sent++)
            await (sent % 2 === 0 ? sendOne(from, to, bytes) : sendOne(to, from, bytes))
        })
        figures.push({
          rate: (sent * mib) / (busy.elapsedMs / 1000),
          heads: new Set([...calm.heads, ...busy.heads]).size,
          slowestMs: busy.slowestMs,
          calmMs: calm.slowestMs,
        })
        await mesh.emptied()
      }
    })
    const results: Result[] = [
      {
        name: `rhythm under transfers: ${mib} MiB made and sent`,
        unit: 'MiB/s',
        values: figures.map(({ rate }) => rate),
      },
      { name: '  heads and terms seen (1: no election)', unit: 'count', values: figures.map(({ heads }) => heads) },
      { name: '  slowest answer of a node', unit: 'ms', values: figures.map(({ slowestMs }) => slowestMs) },
      { name: '  slowest answer when nothing goes on', unit: 'ms', values: figures.map(({ calmMs }) => calmMs) },
    ]
    return results
  },
}

/** Makes a value on one node and reads it on another. */
async function sendOne(from: BenchNode, to: BenchNode, bytes: number): Promise<void> {
  const value: ObjectRef<Uint8Array> = makeValue.options({ schedulingStrategy: { nodeId: from.nodeId } }).remote(bytes)
  await get(readValue.options({ schedulingStrategy: { nodeId: to.nodeId } }).remote(value))
}

interface Watched {
  /** Each head with its term, as any of the nodes saw it; 'none' while one saw none. */
  heads: Set<string>
  slowestMs: number
  elapsedMs: number
}

/** Asks all nodes over and over who is head, while the work goes on. */
async function watch(clients: readonly NodeClient[], work: () => Promise<unknown>): Promise<Watched> {
  const heads = new Set<string>()
  let slowestMs = 0
  const done = new AbortController()
  const ask = async (client: NodeClient): Promise<void> => {
    while (!done.signal.aborted) {
      const askedAt = performance.now()
      const { head, term } = await client.call('meshInfo', {})
      slowestMs = Math.max(slowestMs, performance.now() - askedAt)
      heads.add(head === undefined ? 'none' : `${head} ${term}`)
      await delay(lookMs)
    }
  }
  const startedAt = performance.now()
  const asking = Promise.all(clients.map(ask))
  try {
    await work()
  } finally {
    done.abort()
  }
  await asking
  return { heads, slowestMs, elapsedMs: performance.now() - startedAt }
}
