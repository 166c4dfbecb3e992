import type { Advert } from '../../protocols/advert.ts'
import { InvalidArgumentError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { ElectionRunner } from '../election/election-runner.ts'
import type { HeadOffice } from '../head/head-office.ts'
import type { MeshWork } from '../mesh/build-mesh.ts'
import type { MeshGround } from '../mesh/mesh-ground.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { OwnState } from '../mesh/own-state.ts'
import type { Questions } from '../mesh/questions.ts'
import type { MeshView } from '../view/mesh-view.ts'
import type { AdminCallee } from './admin-desk.ts'

export interface MeshAdminParts {
  ground: MeshGround
  mesh: Mesh
  view: MeshView
  election: ElectionRunner
  office: HeadOffice
  questions: Questions
  own: OwnState
  work: MeshWork
}

export class MeshAdmin implements AdminCallee {
  readonly #parts: MeshAdminParts

  constructor(parts: MeshAdminParts) {
    this.#parts = parts
  }

  async makeFirstToken(): Promise<string | undefined> {
    const { membership, network } = this.#parts.ground
    if (!membership.canAdmit) return undefined
    const { text } = await membership.createToken({ role: 'admin', uses: 10, addresses: network.addresses })
    return text
  }

  async call(name: string, args: unknown): Promise<unknown> {
    const { membership, network } = this.#parts.ground
    const given = args as Record<string, never>
    switch (name) {
      case 'nodes':
        return this.nodes()
      case 'tokenCreate': {
        const { text, ...info } = await membership.createToken({ ...given, addresses: network.addresses })
        return { ...info, token: text }
      }
      case 'tokenList':
        return membership.tokens()
      case 'tokenRevoke':
        await membership.revokeToken(given['id'] as never as string)
        return {}
      default:
        throw new InvalidArgumentError(`a node knows no call ${name}`, { name })
    }
  }

  nodes(): unknown[] {
    const { view, own, ground } = this.#parts
    const { network } = ground
    const self = own.state()
    const seen = view.nodes().filter(({ advert }) => advert.node !== network.self)
    return [
      this.#report(self, 'alive', true),
      ...seen.map(({ advert, state }) => this.#report(advert, state, network.link(advert.node) !== undefined)),
    ]
  }

  #report(advert: Advert, state: string, linked: boolean): Record<string, unknown> {
    const { election, ground } = this.#parts
    const { node, total, available, startedAtMs, shoalVersion, ...rest } = advert
    return {
      ...rest,
      id: node,
      version: shoalVersion,
      isSelf: node === ground.network.self,
      isHead: node === election.head,
      term: election.term?.counter,
      state,
      linked,
      upMs: Date.now() - startedAtMs,
      resources: { total, available },
    }
  }

  headOf(): NodeId | undefined {
    return this.#parts.election.head
  }
}
