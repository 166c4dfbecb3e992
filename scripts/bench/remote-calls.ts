import { get, init, remote, shutdown } from '../../sdk/index.ts'
import { startLocalMesh } from '../mesh.ts'
import type { Benchmark } from './benchmark.ts'
import { oneByOneWarmUpMs, rate } from './rate.ts'

const remoteValue = remote(() => 'ok', { name: 'remoteValue' })

/** Two nodes over loopback. The program is attached to the one that has no CPU, so all that needs one goes to the other. */
export async function attachToTwoNodes(): Promise<AsyncDisposable> {
  const mesh = await startLocalMesh({ nodes: 2, cpus: [0, 2] })
  await init({ address: mesh.nodes[0]?.socketPath ?? '' })
  return {
    async [Symbol.asyncDispose]() {
      await shutdown()
      await mesh[Symbol.asyncDispose]()
    },
  }
}

/** Tasks that cross from one node to another. */
export const remoteCallBenchmarks: readonly Benchmark[] = [
  rate({
    name: 'tasks on another node, sync',
    warmUpMs: oneByOneWarmUpMs,
    attach: attachToTwoNodes,
    prepare: () => () => get(remoteValue.remote()),
  }),
  rate({
    name: 'tasks on another node, async',
    attach: attachToTwoNodes,
    operations: 1000,
    prepare: () => () => get(Array.from({ length: 1000 }, () => remoteValue.remote())),
  }),
]
