import { settled } from '../../test/support/mesh-view.ts'
import { canMakeNetworks, NetworkLab } from '../../test/support/network-lab.ts'
import type { BenchNode } from './bench-mesh.ts'

export interface ShapedMeshOptions {
  nodes: number
  /** What each link takes, each way. */
  mbit: number
  storeBytesMax: number
}

const signals = ['SIGINT', 'SIGTERM'] as const

/** True when this system lets us make networks of our own. */
export function canShapeLinks(): boolean {
  return canMakeNetworks()
}

/** Nodes in networks of their own, each with a link of so much to all others. The first one offers no CPU. */
export async function startShapedMesh({
  nodes: count,
  mbit,
  storeBytesMax,
}: ShapedMeshOptions): Promise<AsyncDisposable & { readonly nodes: readonly BenchNode[] }> {
  await using parts = new AsyncDisposableStack()
  const lab = parts.use(new NetworkLab(...Array.from({ length: count }, (_, i) => `n${i + 1}`)))
  // Networks that are left behind stay until the machine is started again.
  const onSignal = (): void => void lab[Symbol.asyncDispose]().finally(() => process.exit(1))
  for (const signal of signals) {
    process.once(signal, onSignal)
    parts.defer(() => void process.off(signal, onSignal))
  }
  let token: string | undefined
  for (const [index, machine] of lab.machines.entries()) {
    machine.limit(mbit)
    const ready = await machine.up({ embedded: true, mesh: true, cpus: index === 0 ? 0 : 1, storeBytesMax }, token)
    token ??= ready.joinToken
  }
  await settled(lab.machines, 60_000)
  const moved = parts.move()
  const nodes = lab.machines.flatMap(({ ready }) => (ready === undefined ? [] : [ready]))
  return { nodes, [Symbol.asyncDispose]: () => moved.disposeAsync() }
}
