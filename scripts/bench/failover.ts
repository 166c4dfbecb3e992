import { setTimeout as delay } from 'node:timers/promises'
import { NodeClient } from '../../node/cli/node-client.ts'
import type { LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { startLocalMesh } from '../mesh.ts'
import type { Benchmark } from './benchmark.ts'

const nodes = 3
const lookMs = 5

/** How long a mesh is without a head after `kill -9` of it: until another one acts, as the others see it. */
export const failoverBenchmark: Benchmark = {
  name: 'failover',
  async measure({ rounds, profiled }) {
    const values = await profiled(async () => {
      const found: number[] = []
      for (let round = 0; round < rounds; round++) found.push(await failOver())
      return found
    })
    return [{ name: 'failover', unit: 'ms', values }]
  },
}

async function failOver(): Promise<number> {
  await using mesh = await startLocalMesh({ nodes, options: { prestart: 0 } })
  const clients = await Promise.all(mesh.nodes.map(({ socketPath }) => NodeClient.connect(socketPath)))
  try {
    const old = await headOf(clients, (heads) => heads.size === 1)
    const index = mesh.nodes.findIndex(({ nodeId }) => nodeId === old)
    const survivors = clients.filter((_, at) => at !== index)
    process.kill((mesh.nodes[index] as LocalNode).pid, 'SIGKILL')
    const killedAt = performance.now()
    await headOf(survivors, (heads) => heads.size === 1 && !heads.has(old))
    return performance.now() - killedAt
  } finally {
    for (const client of clients) client.close()
  }
}

/** The head that all of them follow, once they do. */
async function headOf(
  clients: readonly NodeClient[],
  isIt: (heads: Set<string | undefined>) => boolean,
): Promise<string> {
  for (;;) {
    const heads = new Set(await Promise.all(clients.map(async (client) => (await client.call('meshInfo', {})).head)))
    const [head] = heads
    if (head !== undefined && isIt(heads)) return head
    await delay(lookMs)
  }
}
