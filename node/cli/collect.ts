import type { EventReport, EventsPart, FromArgs, NodeAnswer, TaskReport, TaskRunsPart } from '../../protocols/admin.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { NodeClient } from './node-client.ts'

/** Of one node, in one answer. */
const perNodeMax = 1000
/** Of all nodes, in one answer. */
const perAnswerMax = 20_000

export interface Collected<T> {
  /** What each node has told, in its order. */
  readonly byNode: ReadonlyMap<NodeId, { readonly name: string; readonly items: T[] }>
  /** By node: where to go on. */
  readonly from: Readonly<Record<NodeId, number>>
  readonly problems: readonly { readonly name: string; readonly problem: string }[]
}

type Part = Pick<TaskRunsPart, 'next' | 'hasMore'>

/** All that the nodes remember, or what has come since. */
async function collect<T, P extends Part>(
  ask: (args: FromArgs) => Promise<NodeAnswer<P>[]>,
  itemsOf: (part: P) => readonly T[],
  given: Readonly<Record<NodeId, number>>,
): Promise<Collected<T>> {
  const byNode = new Map<NodeId, { name: string; items: T[] }>()
  const problems = new Map<NodeId, { name: string; problem: string }>()
  const from: Record<NodeId, number> = { ...given }
  let limit = Math.max(1, Object.keys(given).length === 0 ? 100 : limitFor(Object.keys(given).length))
  for (let hasMore = true; hasMore;) {
    const answers = await ask({ from, limit })
    hasMore = false
    for (const { node, name, value, problem } of answers) {
      if (value === undefined) problems.set(node, { name, problem: problem ?? 'no answer' })
      else {
        problems.delete(node)
        const known = byNode.get(node)
        if (known === undefined) byNode.set(node, { name, items: [...itemsOf(value)] })
        else for (const item of itemsOf(value)) known.items.push(item)
        from[node] = value.next
        hasMore ||= value.hasMore
      }
    }
    limit = limitFor(answers.length)
  }
  return { byNode, from, problems: [...problems.values()] }
}

function limitFor(nodes: number): number {
  return Math.max(1, Math.min(perNodeMax, Math.floor(perAnswerMax / nodes)))
}

export function collectRuns(
  client: NodeClient,
  from: Readonly<Record<NodeId, number>> = {},
): Promise<Collected<TaskReport>> {
  return collect(
    (args) => client.call('taskRuns', args),
    ({ runs }: TaskRunsPart) => runs,
    from,
  )
}

export function collectEvents(
  client: NodeClient,
  from: Readonly<Record<NodeId, number>> = {},
): Promise<Collected<EventReport>> {
  return collect(
    (args) => client.call('events', args),
    ({ events }: EventsPart) => events,
    from,
  )
}
