import {
  adminValue,
  checkAdminArgs,
  isNodeCall,
  isSurveyCall,
  type AdminArgs,
  type AdminReply,
  type AdminValue,
  type NodeAnswer,
  type NodeCallName,
  type SurveyCallName,
  type SurveyValue,
} from '../../protocols/admin.ts'
import { InvalidArgumentError, MembershipError, UnreachableError, type ShoalError } from '../../protocols/errors.ts'
import { mayAdmit, maySubmit, type MemberRole } from '../../protocols/membership.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { limits } from '../../protocols/limits.ts'
import { jsonBytes } from '../../protocols/within-bytes.ts'
import { answerAdmin, type AdminCallee } from './admin-desk.ts'

/** How a node answers each of the calls for itself. */
export type OwnAnswers = {
  [N in SurveyCallName]: (args: AdminArgs<N>) => Promise<SurveyValue<N>> | SurveyValue<N>
} & { [N in NodeCallName]: (args: AdminArgs<N>) => Promise<AdminValue<N>> | AdminValue<N> }

/** A node that asks. */
export interface Asker {
  readonly name: string
  readonly role: MemberRole
}

/** The other nodes, as far as they can be asked. */
export interface SurveyPeers {
  /** All that are known, without this one. */
  others(): readonly { node: NodeId; name: string; isLinked: boolean }[]
  /** Rejects with UnreachableError. */
  ask(node: NodeId, name: string, args: unknown): Promise<unknown>
}

/** Of other nodes, so many questions at a time. */
const atATimeMax = 32
/** What one node answers another, as JSON. */
const answerBytesMax = 2 * 1024 * 1024
/** What all together answer. */
const allBytesMax = limits.adminListBytesMax

/** What a node does for others only if they may: what workers print is for those who submit work. */
const rights: Partial<Record<string, { may(role: MemberRole): boolean; who: string }>> = {
  drain: { may: mayAdmit, who: 'admins' },
  nodeLog: { may: maySubmit, who: 'admins and submitters' },
  output: { may: maySubmit, who: 'admins and submitters' },
} satisfies Partial<Record<NodeCallName | SurveyCallName, unknown>>

/**
 * Calls that nodes answer for themselves. Some are put to all: the asked one puts the same question to all that it has a link
 * to, and gives one answer for each, its own first. Others are about one node: they are passed on to that.
 */
export class Survey implements AdminCallee {
  readonly #self: { node: NodeId; name: string }
  readonly #own: OwnAnswers
  #peers: SurveyPeers | undefined
  #underWay = 0

  constructor(self: { node: NodeId; name: string }, own: OwnAnswers) {
    this.#self = self
    this.#own = own
  }

  /** From now on other nodes are asked, too. */
  open(peers: SurveyPeers): void {
    this.#peers = peers
  }

  /** For a client of this node. */
  async call(name: SurveyCallName | NodeCallName, args: unknown): Promise<unknown> {
    return isNodeCall(name) ? this.#askOne(name, args) : this.askAll(name, args)
  }

  async #askOne(name: NodeCallName, args: unknown): Promise<unknown> {
    const checked = checkAdminArgs(name, args)
    const { node } = checked
    if (node === this.#self.node) return this.#answerOwn(name, checked)
    const peers = this.#peers
    const known = peers?.others().find((other) => other.node === node)
    if (peers === undefined || known === undefined) throw new InvalidArgumentError(`there is no node ${node}`, { node })
    if (!known.isLinked) throw new UnreachableError(`there is no link to node ${known.name} (${node})`)
    return adminValue(name, await peers.ask(node, name, checked))
  }

  /** One answer for each node, the own one first. */
  async askAll(name: SurveyCallName, args: unknown): Promise<NodeAnswer<unknown>[]> {
    const checked = checkAdminArgs(name, args)
    const others = this.#peers?.others() ?? []
    const answers = await Promise.all([
      this.#answerOf(this.#self, () => this.#answerOwn(name, checked)),
      ...others.map(({ isLinked, ...other }) =>
        this.#answerOf(other, async () => {
          if (!isLinked) throw new UnreachableError('there is no link to it')
          return adminValue(name, await this.#peers?.ask(other.node, name, checked))
        }),
      ),
    ])
    return withinBounds(answers)
  }

  /** For another node. */
  async answer(name: string, args: unknown, asker: Asker): Promise<AdminReply> {
    const right = Object.hasOwn(rights, name) ? rights[name] : undefined
    if (right?.may(asker.role) === false) {
      const text = `${asker.name} is a member of this mesh as a ${asker.role}: only ${right.who} may ask that of other nodes`
      return refusal(new MembershipError(text))
    }
    if (this.#underWay >= atATimeMax)
      return refusal(new UnreachableError(`${atATimeMax} questions are under way already`))
    this.#underWay++
    try {
      return await answerAdmin({ call: () => this.#answerOwn(name, args) }, name, args, answerBytesMax)
    } finally {
      this.#underWay--
    }
  }

  async #answerOwn(name: string, args: unknown): Promise<unknown> {
    if (!isSurveyCall(name) && !isNodeCall(name)) throw new InvalidArgumentError(`a node answers no '${name}'`)
    const own = this.#own[name] as (args: unknown) => unknown
    return own(checkAdminArgs(name, args))
  }

  async #answerOf(of: { node: NodeId; name: string }, get: () => Promise<unknown>): Promise<NodeAnswer<unknown>> {
    try {
      return { ...of, value: await get() }
    } catch (error) {
      return { ...of, problem: (error as Error).message }
    }
  }
}

function refusal({ code, message, retryable }: ShoalError): AdminReply {
  return { ok: false, error: { code, message, retryable } }
}

function withinBounds(answers: readonly NodeAnswer<unknown>[]): NodeAnswer<unknown>[] {
  let bytes = 0
  return answers.map(({ value, ...rest }) => {
    if (value === undefined) return rest
    bytes += jsonBytes(value)
    return bytes <= allBytesMax
      ? { ...rest, value }
      : { ...rest, problem: 'left out, since all answers together are too large' }
  })
}
