import { setTimeout as delay } from 'node:timers/promises'
import {
  adminValue,
  type AdminArgs,
  type AdminCallName,
  type AdminValue,
  type NodeReport,
} from '../../protocols/admin.ts'
import { FakeClient } from './fake-client.ts'

/** Something that has come up as a node. */
interface Upped {
  readonly ready: { readonly socketPath: string; readonly nodeId: string } | undefined
}

/** Calls a node as the command line does. */
export async function ask<N extends AdminCallName>(
  { ready }: Upped,
  name: N,
  args: AdminArgs<N>,
): Promise<AdminValue<N>> {
  const client = await FakeClient.attach(ready?.socketPath ?? '', { role: 'command' })
  try {
    client.send('adminCall', { requestId: 1, name, args })
    return adminValue(name, (await client.next('adminReply')).reply)
  } finally {
    await client.close()
  }
}

/** The nodes of the mesh as one of them sees it. */
export function nodesSeenBy(machine: Upped): Promise<NodeReport[]> {
  return ask(machine, 'nodes', {})
}

/** Waits until all of these nodes, and no others, are linked with each other and follow one head; gives the head's id. */
export async function settled(machines: readonly Upped[], timeoutMs = 20_000): Promise<string> {
  const ids = machines.map(({ ready }) => ready?.nodeId ?? '').toSorted()
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const views = await Promise.all(machines.map(nodesSeenBy))
    const isComplete = views.every((nodes) => {
      const reached = nodes.filter(({ linked, isSelf }) => linked || isSelf).map(({ id }) => id)
      return reached.toSorted().join() === ids.join()
    })
    const heads = new Set(views.map((nodes) => nodes.find(({ isHead }) => isHead)?.id))
    const [head] = heads
    if (isComplete && heads.size === 1 && head !== undefined && ids.includes(head)) return head
    if (Date.now() > deadline) {
      throw new Error(
        `the nodes do not agree: ${JSON.stringify(views.map((nodes) => nodes.map(({ id, linked, isHead }) => [id, linked, isHead])))}`,
      )
    }
    // Nobody tells the end of settling.
    await delay(50)
  }
}
