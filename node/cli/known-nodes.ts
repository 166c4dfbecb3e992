import type { NodeId } from '../../protocols/ids.ts'
import type { NodeClient } from './node-client.ts'

/** The nodes that can be meant, the own one first; also for a node that is in no mesh. */
export async function knownNodes(client: NodeClient): Promise<{ id: NodeId; name: string }[]> {
  // Whatever is asked of all, each of them is in the answer.
  const answers = await client.call('events', { from: {}, limit: 1 })
  return answers.map(({ node, name }) => ({ id: node, name }))
}
