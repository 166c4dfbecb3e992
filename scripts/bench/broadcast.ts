import { BenchMesh } from './bench-mesh.ts'
import type { Benchmark } from './benchmark.ts'
import type { Result } from './result.ts'
import { canShapeLinks, startShapedMesh } from './shaped-mesh.ts'

const mebibyte = 2 ** 20
/** Memory that has never been used may be several times as slow. */
const warmUps = 3
/** The slower ones leave the processors time for all of it. */
const links = [
  { mbit: 100, mibMax: 64 },
  { mbit: 1000, mibMax: 256 },
]

/** One value from the first node to one other, and to all others at once. */
async function measureBroadcast(mesh: BenchMesh, mib: number, rounds: number): Promise<[number[], number[]]> {
  const value = new Uint8Array(mib * mebibyte).fill(3)
  const others = mesh.nodes.slice(1)
  const one: number[] = []
  const all: number[] = []
  for (let round = -warmUps; round < rounds; round++) {
    // To another one each time, so that all of them have memory that has been used.
    const [target = others[0]] = others.slice((round + warmUps) % others.length)
    const oneMs = await mesh.send(value, target === undefined ? [] : [target])
    await mesh.emptied()
    const allMs = await mesh.send(value, others)
    await mesh.emptied()
    if (round < 0) continue
    one.push(oneMs)
    all.push(allMs)
  }
  return [one, all]
}

function resultsOf(where: string, nodes: number, mib: number, [one, all]: [number[], number[]]): Result[] {
  return [
    { name: `broadcast ${mib} MiB ${where}: to one node`, unit: 'ms', values: one },
    { name: `  to ${nodes} nodes`, unit: 'ms', values: all },
    { name: `  to ${nodes} nodes, beside one`, unit: 'times', values: all.map((ms, i) => ms / (one[i] ?? Number.NaN)) },
  ]
}

/** Between nodes of this machine, where all of them share its processors. */
const onOneMachine = [
  { name: 'broadcast over loopback', where: 'over loopback', handOver: false },
  { name: 'broadcast on one machine', where: 'from memory to memory', handOver: true },
]

/** On this machine, over loopback and without, and over links of their own, where each can use all of its own. */
export const broadcastBenchmarks: readonly Benchmark[] = [
  ...onOneMachine.map(({ name, where, handOver }): Benchmark => ({
    name,
    async measure({ rounds, mib, nodes = 8 }) {
      const storeBytesMax = 2 * mib * mebibyte
      await using mesh = await BenchMesh.start({ nodes: nodes + 1, storeBytesMax, handOver })
      return resultsOf(where, nodes, mib, await measureBroadcast(mesh, mib, rounds))
    },
  })),
  ...links.map((link): Benchmark => {
    const { mbit } = link
    const where = `over links of ${mbit} Mbit/s`
    return {
      name: `broadcast ${where}`,
      async measure({ rounds, mib, nodes = 8 }) {
        if (!canShapeLinks()) {
          console.error('  left out: it takes network namespaces, which only root can make')
          return []
        }
        const size = Math.min(mib, link.mibMax)
        await using mesh = await BenchMesh.attach(
          await startShapedMesh({ nodes: nodes + 1, mbit, storeBytesMax: 3 * size * mebibyte + 64 * mebibyte }),
        )
        return resultsOf(where, nodes, size, await measureBroadcast(mesh, size, rounds))
      },
    }
  }),
]
