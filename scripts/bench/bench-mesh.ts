import { setTimeout as delay } from 'node:timers/promises'
import { get, init, put, remote, shutdown, type ObjectRef } from '../../sdk/index.ts'
import { NodeClient } from '../../node/cli/node-client.ts'
import { startLocalMesh } from '../mesh.ts'
import { collectGarbage } from './garbage.ts'
import { checkMarks, mark } from './marks.ts'

/** One node of it. */
export interface BenchNode {
  readonly nodeId: string
  readonly pid: number
  readonly socketPath: string
}

export interface BenchMeshOptions {
  nodes: number
  /** What each node can hold. */
  storeBytesMax: number
  /** CPUs of each; the first offers none unless this says so. */
  cpus?: readonly number[]
  /** False: values come over the network, though all nodes are on this machine. Default: true. */
  handOver?: boolean
}

const emptyMs = 30_000
const lookMs = 50

const fetchValue = remote(
  async ([ref]: [ObjectRef<Uint8Array>], round: number) => {
    const startedAt = performance.now()
    const value = await get(ref)
    const elapsedMs = performance.now() - startedAt
    checkMarks(value, round)
    return elapsedMs
  },
  { name: 'fetchValue' },
)

/** Views that a worker does not use any more keep their memory until it collects them. */
const collectThere = remote(() => collectGarbage(), { name: 'collectThere' })

/** A mesh that this program is attached to, by its first node. */
export class BenchMesh implements AsyncDisposable {
  readonly nodes: readonly BenchNode[]
  readonly clients: readonly NodeClient[]
  readonly #parts: AsyncDisposableStack
  #round = 0

  private constructor(nodes: readonly BenchNode[], clients: readonly NodeClient[], parts: AsyncDisposableStack) {
    this.nodes = nodes
    this.clients = clients
    this.#parts = parts
  }

  /** Nodes over loopback. */
  static async start({ nodes, storeBytesMax, cpus = [0, 1], handOver = true }: BenchMeshOptions): Promise<BenchMesh> {
    return BenchMesh.attach(await startLocalMesh({ nodes, cpus, options: { storeBytesMax, handOver } }))
  }

  /** Attaches to nodes that run already, which end with this. */
  static async attach(mesh: AsyncDisposable & { readonly nodes: readonly BenchNode[] }): Promise<BenchMesh> {
    await using parts = new AsyncDisposableStack()
    parts.use(mesh)
    const clients: NodeClient[] = []
    for (const { socketPath } of mesh.nodes) {
      clients.push(parts.adopt(await NodeClient.connect(socketPath), (client) => client.close()))
    }
    await init({ address: mesh.nodes[0]?.socketPath ?? '' })
    parts.defer(shutdown)
    return new BenchMesh(mesh.nodes, clients, parts.move())
  }

  /** Brings one value from the first node to others; returns how many milliseconds the slowest took. `emptied` comes next. */
  async send(value: Uint8Array, to: readonly BenchNode[]): Promise<number> {
    const round = this.#round++
    mark(value, round)
    // The ref is gone when it is over.
    const ref = put(value)
    const fetched = to.map(({ nodeId }) => fetchValue.options({ schedulingStrategy: { nodeId } }).remote([ref], round))
    return Math.max(...(await get(fetched)))
  }

  /** Waits until no node holds any value. */
  async emptied(): Promise<void> {
    const deadline = Date.now() + emptyMs
    // The first node has no workers.
    await get(
      this.nodes.slice(1).map(({ nodeId }) => collectThere.options({ schedulingStrategy: { nodeId } }).remote()),
    )
    for (const client of this.clients) {
      for (;;) {
        collectGarbage()
        await delay(lookMs)
        const { objects } = await client.call('objects', {})
        if (objects.length === 0) break
        if (Date.now() > deadline)
          throw new Error(`values are still there after ${emptyMs} ms: ${JSON.stringify(objects)}`)
      }
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#parts.disposeAsync()
  }
}
