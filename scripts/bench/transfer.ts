import { BenchMesh, type BenchNode } from './bench-mesh.ts'
import type { Benchmark } from './benchmark.ts'
import { cpuSeconds } from './processes.ts'
import { RawTls } from './raw-tls.ts'
import type { Result } from './result.ts'

const mebibyte = 2 ** 20
/** The first ones find memory that has never been used, which may be several times as slow. */
const warmUps = 3

/** A value that goes over the network from one node's store to another's, beside as many bytes over nothing but TLS, one after the other. */
export const transferBenchmark: Benchmark = {
  name: 'transfer between two nodes',
  async measure({ rounds, mib, profiled }) {
    const bytes = mib * mebibyte
    await using mesh = await BenchMesh.start({ nodes: 2, storeBytesMax: 3 * bytes, handOver: false })
    using raw = await RawTls.start(bytes)
    const value = new Uint8Array(bytes).fill(3)
    const target = mesh.nodes.slice(1) as [BenchNode]
    const ours: Measured[] = []
    const alone: Measured[] = []
    const measureOnce = async (): Promise<void> => {
      const pids = mesh.nodes.map(({ pid }) => pid)
      ours.push(await measured(mib, pids, () => mesh.send(value, target)))
      await mesh.emptied()
      alone.push(await measured(mib, raw.pids, () => raw.transfer()))
    }
    for (let i = 0; i < warmUps; i++) await measureOnce()
    ours.length = alone.length = 0
    await profiled(async () => {
      for (let round = 0; round < rounds; round++) await measureOnce()
    })
    const ratio = ours.map(({ rate }, i) => rate / (alone[i]?.rate ?? Number.NaN))
    const results: Result[] = [
      { name: `transfer ${mib} MiB between two nodes`, unit: 'MiB/s', values: ours.map(({ rate }) => rate) },
      { name: '  as many bytes over TLS alone', unit: 'MiB/s', values: alone.map(({ rate }) => rate) },
      { name: '  of the speed of TLS alone', unit: 'ratio', values: ratio },
      { name: '  CPU of both nodes, for a GiB', unit: 's', values: ours.map(({ cpu }) => cpu) },
      { name: '  CPU of both ends of TLS alone, for a GiB', unit: 's', values: alone.map(({ cpu }) => cpu) },
    ]
    return results
  },
}

interface Measured {
  /** MiB in a second. */
  rate: number
  /** Seconds of processor time of the processes, for a GiB. */
  cpu: number
}

async function measured(mib: number, pids: readonly number[], send: () => Promise<number>): Promise<Measured> {
  const cpuOf = async (): Promise<number> => sum(await Promise.all(pids.map(cpuSeconds)))
  const before = await cpuOf()
  const ms = await send()
  return { rate: mib / (ms / 1000), cpu: ((await cpuOf()) - before) * (1024 / mib) }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
