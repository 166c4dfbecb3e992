import { readFileSync } from 'node:fs'
import {
  checkAdminArgs,
  isAdminCall,
  isNodeCall,
  isSurveyCall,
  type AdminArgs,
  type AdminCallName,
  type AdminValue,
  type MemberReport,
  type NodeCallName,
  type NodeReport,
  type SurveyCallName,
} from '../../protocols/admin.ts'
import { InvalidArgumentError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { PeerMessageBody } from '../../protocols/peer-messages.ts'
import { shoalVersion } from '../../protocols/version.ts'
import { Slots } from '../bulk/slots.ts'
import { keyOfObject, type ObjectDirectory } from '../directory/object-directory.ts'
import type { ElectionRunner } from '../election/election-runner.ts'
import type { MeshGround } from '../mesh/mesh-ground.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { OwnState } from '../mesh/own-state.ts'
import type { Questions } from '../mesh/questions.ts'
import type { PeerLink } from '../network/network.ts'
import type { MeshView } from '../view/mesh-view.ts'
import { nodeReport } from '../view/node-report.ts'
import type { AdminCallee } from './admin-desk.ts'
import { isLocalCall, type LocalCallName } from './local-admin.ts'
import type { Explainer } from './explainer.ts'

export interface MeshAdminParts {
  ground: MeshGround
  mesh: Mesh
  view: MeshView
  election: ElectionRunner
  questions: Questions
  own: OwnState
  explainer: Explainer
  directory: Pick<ObjectDirectory, 'find'>
  store(): { directory: string; usedBytes: number; bytesMax: number }
  now(): number
  onLeft(): void
}

type MeshCallName = Exclude<AdminCallName, LocalCallName | SurveyCallName | NodeCallName>
type Calls = { [N in MeshCallName]: (args: AdminArgs<N>) => Promise<AdminValue<N>> | AdminValue<N> }

const firstTokenUses = 10
/** Lookups in the directory at a time, and those that wait for their turn. */
const lookupsMax = 32
const lookupsWaitingMax = 10_000

/** What the command line and programs can ask of this node about its mesh, and have it do. */
export class MeshAdmin implements AdminCallee {
  readonly #parts: MeshAdminParts
  readonly #calls: Calls
  readonly #lookups = new Slots(lookupsMax, lookupsWaitingMax, 'lookups of objects')

  constructor(parts: MeshAdminParts) {
    this.#parts = parts
    const { membership, network } = parts.ground
    this.#calls = {
      nodes: () => this.#nodes(),
      meshInfo: () => this.#info(),
      tokenCreate: async (options) => {
        const { text, ...info } = await membership.createToken({ ...options, addresses: network.addresses })
        return { ...info, token: text }
      },
      tokenList: () => membership.tokens(),
      tokenRevoke: async ({ id }) => {
        await membership.revokeToken(id)
        return { id }
      },
      memberList: () => this.#members(),
      memberRevoke: ({ node, reason }) => this.#revoke(node, reason),
      leave: ({ force }) => this.#leave(force),
      explain: ({ task }) => parts.explainer.explain(task),
      doctor: () => this.#doctor(),
      objectLocate: ({ id }) => this.#lookups.use(() => this.#locate(id)),
    }
  }

  async call(name: string, args: unknown): Promise<unknown> {
    if (!isAdminCall(name) || isLocalCall(name) || isSurveyCall(name) || isNodeCall(name)) {
      throw new InvalidArgumentError(
        `a node knows no call '${name}'; it knows ${Object.keys(this.#calls).join(', ')}`,
        {
          name,
        },
      )
    }
    const call = this.#calls[name] as (given: unknown) => Promise<unknown>
    return call(checkAdminArgs(name, args))
  }

  async #locate(id: string): Promise<AdminValue<'objectLocate'>> {
    const { directory, view, now } = this.#parts
    const beganMs = now()
    const nodes = await directory.find(keyOfObject(id))
    const ms = now() - beganMs
    return { holders: nodes.map((node) => ({ node, name: view.get(node)?.name ?? node })), ms }
  }

  /** For the line that `shoal up` prints; undefined when this node lets nobody in. */
  async makeFirstToken(): Promise<string | undefined> {
    const { membership, network } = this.#parts.ground
    if (!membership.canAdmit) return undefined
    const { text } = await membership.createToken({
      role: 'admin',
      uses: firstTokenUses,
      addresses: network.addresses,
    })
    return text
  }

  #nodes(): NodeReport[] {
    const { view, own, ground, election, now } = this.#parts
    const self = ground.network.self
    view.apply(own.state(), now(), 'direct')
    const { term } = election
    const head = term === undefined ? undefined : { node: term.head, term: term.counter }
    const circumstances = { self, head, nowMs: Date.now() }
    return view
      .nodes()
      .toSorted((a, b) => Number(b.advert.node === self) - Number(a.advert.node === self) || byName(a.advert, b.advert))
      .map((seen) => nodeReport(seen, circumstances))
  }

  #info(): AdminValue<'meshInfo'> {
    const { view, ground, election } = this.#parts
    const { membership, network, name } = ground
    const { head, term } = election
    const headName = head === network.self ? name : head === undefined ? undefined : view.get(head)?.name
    return {
      meshId: Buffer.from(membership.meshId).toString('hex'),
      meshName: membership.meshName,
      self: network.self,
      name,
      role: membership.role,
      ...(head === undefined ? {} : { head }),
      ...(headName === undefined ? {} : { headName }),
      ...(term === undefined ? {} : { term: term.counter }),
      nodeCount: Math.max(1, view.size),
      links: Array.from(network.links(), ({ peer }) => {
        const address = peer.addresses.at(-1)
        return { node: peer.node, name: peer.name, ...(address === undefined ? {} : { address }) }
      }),
    }
  }

  #members(): MemberReport[] {
    const { membership, network } = this.#parts.ground
    const members: MemberReport[] = this.#nodes().map(({ id, name, role, state, isSelf }) => ({
      node: id,
      name,
      role,
      state,
      isSelf,
      ...(isSelf ? { certificateExpiresAtMs: membership.expiresAtMs } : {}),
    }))
    const revoked = membership.revoked.map(({ node, revokedAtMs }): MemberReport => {
      return { node, state: 'revoked', isSelf: node === network.self, revokedAtMs }
    })
    const nodes = new Set(revoked.map(({ node }) => node))
    return [...members.filter(({ node }) => !nodes.has(node)), ...revoked]
  }

  async #revoke(node: NodeId, reason = 'its membership was revoked'): Promise<AdminValue<'memberRevoke'>> {
    const { ground, mesh, view } = this.#parts
    const { membership, network } = ground
    await membership.revokeMember(node, view.get(node)?.role)
    mesh.tellRevocations()
    network.link(node)?.close(reason)
    network.recheck()
    return { node }
  }

  async #leave(force: boolean): Promise<AdminValue<'leave'>> {
    const { ground, mesh, onLeft } = this.#parts
    const { meshName } = ground.membership
    await mesh.leave(() => ground.membership.leave({ force }))
    ground.forgetPeers()
    // After the answer is on its way.
    setTimeout(onLeft, 100)
    return { meshName }
  }

  async #doctor(): Promise<AdminValue<'doctor'>> {
    const { ground, election, store } = this.#parts
    const { membership, network, name } = ground
    const linked = await Promise.all(Array.from(network.links(), (link) => this.#askPeer(link)))
    const others = this.#nodes().filter((node) => !node.linked && !node.isSelf)
    const peers = [
      ...linked,
      ...others.map(({ id, name: n, version }) => ({ node: id, name: n, version, linked: false })),
    ]
    const openFilesMax = openFilesLimit()
    const { head } = election
    return {
      name,
      version: shoalVersion,
      nodeVersion: process.version,
      role: membership.role,
      meshName: membership.meshName,
      ...(head === undefined ? {} : { head }),
      listen: { host: ground.listen.host, port: ground.listen.port },
      addresses: network.addresses,
      isMdnsOn: ground.isMdnsOn,
      mdnsSeen: network.neighboursSeen,
      peers,
      certificateExpiresAtMs: membership.expiresAtMs,
      store: store(),
      ...(openFilesMax === undefined ? {} : { openFilesMax }),
    }
  }

  async #askPeer({ peer }: PeerLink): Promise<AdminValue<'doctor'>['peers'][number]> {
    const { ground, questions } = this.#parts
    const { node, name, version } = peer
    const sentAtMs = performance.now()
    const clockMs = Date.now()
    try {
      const reply = await questions.ask<PeerMessageBody<'dialBackReply'>>(node, (post, askId) =>
        post.send(node, 'dialBackAsk', { askId, addresses: [...ground.network.addresses].slice(0, 16), clockMs }),
      )
      const elapsedMs = performance.now() - sentAtMs
      const clockOffsetMs = Math.round(reply.clockMs - clockMs - elapsedMs)
      return { node, name, version, linked: true, clockOffsetMs, dialBack: reply.results }
    } catch {
      return { node, name, version, linked: true }
    }
  }
}

function byName(a: { name: string; node: string }, b: { name: string; node: string }): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : a.node < b.node ? -1 : 1
}

function openFilesLimit(): number | undefined {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
    return found === null ? undefined : Number(found[1])
  } catch {
    return undefined
  }
}
