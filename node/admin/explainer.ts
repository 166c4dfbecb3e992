import type { ExplainedRequest, NodeVerdict } from '../../protocols/admin.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { formatResources, type ResourceSet } from '../../protocols/resources.ts'
import { formatStrategy, matchesLabels, type SchedulingStrategy } from '../../protocols/scheduling.ts'
import type { GroupDesk } from '../groups/group-desk.ts'
import type { HeadOffice } from '../head/head-office.ts'
import type { Questions } from '../mesh/questions.ts'
import type { LeaseRouter } from '../routing/lease-router.ts'
import { PlannedNode } from '../scheduler/planned-node.ts'
import type { MeshView, ViewedNode } from '../view/mesh-view.ts'

export interface ExplainerParts {
  self: NodeId
  router: LeaseRouter
  groups: Pick<GroupDesk, 'waiting'>
  office: HeadOffice
  questions: Questions
  view: MeshView
  head(): NodeId | undefined
  now(): number
}

const explainedMax = 100

/** Tells why requests of this node's clients wait: what was asked, where it stands, and what each node has to say. */
export class Explainer {
  readonly #parts: ExplainerParts

  constructor(parts: ExplainerParts) {
    this.#parts = parts
  }

  async explain(task: string): Promise<ExplainedRequest[]> {
    const { router, groups, now } = this.#parts
    const inGroups = Array.from(groups.waiting(), (each) => ({ ...each, infeasible: undefined }))
    const waiting = [...Array.from(router.waiting(), (each) => ({ ...each, reason: '' })), ...inGroups]
      .filter(({ request }) => task === '' || request.label === task || request.label.includes(task))
      .sort((a, b) => a.sinceMs - b.sinceMs)
      .slice(0, explainedMax)
    return Promise.all(
      waiting.map(async ({ request, sinceMs, at, infeasible, reason }) => {
        const { label, resources, strategy, client, requestId } = request
        const state = this.#stateOf(at, infeasible)
        return {
          label,
          resources,
          asked: formatResources(resources),
          strategy: formatStrategy(strategy),
          waitingMs: Math.round(now() - sinceMs),
          state,
          where: reason === '' ? this.#where(state, at) : 'here, until its bundle has a node',
          headSays: infeasible ?? (reason === '' ? this.#headSays(state) : reason),
          nodes: await this.#verdicts(client, requestId, resources, strategy),
        }
      }),
    )
  }

  #stateOf(at: NodeId | undefined, infeasible: string | undefined): ExplainedRequest['state'] {
    if (infeasible !== undefined) return 'infeasible'
    if (at === undefined) return 'head'
    return at === this.#parts.self ? 'here' : 'elsewhere'
  }

  #where(state: ExplainedRequest['state'], at: NodeId | undefined): string {
    switch (state) {
      case 'infeasible':
        return 'nowhere: no node that is known could ever run it'
      case 'here':
        return 'in the queue of this node'
      case 'elsewhere':
        return `in the queue of ${this.#parts.view.get(at ?? '')?.name ?? at ?? 'another node'}`
      case 'head':
        return this.#parts.head() === undefined ? 'here, until there is a head' : 'at the head, which is to name a node'
    }
  }

  #headSays(state: ExplainedRequest['state']): string {
    if (state === 'here' || state === 'elsewhere') return 'it has been given a place and waits there for its turn'
    return this.#parts.head() === undefined ? 'there is no head at this moment' : 'nothing yet'
  }

  /** The head's own answer, since it knows most; else what this node sees. */
  async #verdicts(
    client: string,
    requestId: number,
    resources: ResourceSet,
    strategy: SchedulingStrategy,
  ): Promise<NodeVerdict[]> {
    const { self, office, questions, view, head } = this.#parts
    const at = head()
    const known = view.nodes()
    const nameOf = (node: NodeId): string => view.get(node)?.name ?? node
    try {
      const told =
        at === self
          ? office.explain(client, requestId)
          : at === undefined
            ? undefined
            : await questions.ask<unknown>(at, (post, askId) =>
                post.send(at, 'explainAsk', { askId, client, requestId }),
              )
      if (Array.isArray(told) && told.length > 0) {
        return (told as NodeVerdict[]).map((verdict) => ({ ...verdict, name: nameOf(verdict.node) }))
      }
    } catch {
      // The head is gone, or does not answer: what is known here has to do.
    }
    return known.map((seen) => ownVerdict(seen, resources, strategy))
  }
}

function ownVerdict({ advert }: ViewedNode, resources: ResourceSet, strategy: SchedulingStrategy): NodeVerdict {
  const { node, name, labels, isOpen } = advert
  const of = { node, name }
  if (!isOpen) return { ...of, verdict: 'closed', reason: 'it takes no work' }
  if (strategy.kind === 'node' && !strategy.isSoft && strategy.node !== node) {
    return { ...of, verdict: 'never', reason: 'it is not the node that was asked for' }
  }
  if (strategy.kind === 'group') return { ...of, verdict: 'never', reason: 'the group says which node it is' }
  if (strategy.kind === 'labels' && !matchesLabels(labels, strategy.selector)) {
    return { ...of, verdict: 'never', reason: `its labels are ${JSON.stringify(labels)}` }
  }
  const planned = new PlannedNode(advert)
  const never = planned.whyNever(resources)
  if (never !== undefined) return { ...of, verdict: 'never', reason: never }
  return { ...of, verdict: planned.fits(resources) ? 'fits' : 'busy', reason: planned.describeShortage(resources) }
}
