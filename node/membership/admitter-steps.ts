import { ProtocolError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { MemberRole } from '../../protocols/membership.ts'
import { areSame } from './certificate.ts'
import { nodeIdOf } from './identity.ts'
import {
  decodeJoinMessage,
  encodeJoinMessage,
  helloVersionOf,
  joinVersion,
  type JoinMessageBody,
  type JoinRefusal,
} from './join-messages.ts'
import { isSameProof, joinProof } from './join-proof.ts'
import type { TokenBook } from './token-book.ts'

export interface AdmitterStepsOptions {
  readonly meshId: Uint8Array
  readonly publicKey: Uint8Array
  readonly credentials: Uint8Array
  readonly canAdmit: boolean
  readonly tokens: Pick<TokenBook, 'redeem'>
  /** The joiner's key, proven by the connection. */
  readonly joinerKey: Uint8Array
  /** Random, for this conversation only. */
  readonly nonce: Uint8Array
  isNodeRevoked(node: NodeId): boolean
  /** Makes the credentials of a new member. */
  issue(publicKey: Uint8Array, role: MemberRole, nowMs: number): Uint8Array
}

/** What to say after a message, and how the join has ended if it has. */
export interface AdmitterStep {
  readonly send: Uint8Array
  readonly end?: { readonly role: MemberRole; readonly tokenId: string } | { readonly refusal: JoinRefusal }
}

/** The admitting side of a join. A use of the token is taken together with the making of the certificate. */
export class AdmitterSteps {
  readonly #options: AdmitterStepsOptions
  #joinerNonce: Uint8Array | undefined
  #isDone = false

  constructor(options: AdmitterStepsOptions) {
    this.#options = options
  }

  /** Throws ProtocolError for what does not belong here. */
  receive(message: Uint8Array, nowMs: number): AdmitterStep {
    if (this.#isDone) throw new ProtocolError('a message after the end of a join')
    if (this.#joinerNonce === undefined && (helloVersionOf(message) ?? joinVersion) !== joinVersion) {
      return this.#refuse('otherVersion')
    }
    const { name, body } = decodeJoinMessage(message)
    if (name === 'hello' && this.#joinerNonce === undefined) return this.#onHello(body)
    if (name === 'proof' && this.#joinerNonce !== undefined) return this.#onProof(body, this.#joinerNonce, nowMs)
    throw new ProtocolError(`a ${name} out of turn in a join`)
  }

  #onHello({ meshId, nonce: joinerNonce }: JoinMessageBody<'hello'>): AdmitterStep {
    const { nonce, credentials, canAdmit } = this.#options
    if (!areSame(meshId, this.#options.meshId)) return this.#refuse('otherMesh')
    if (!canAdmit) return this.#refuse('cannotAdmit')
    this.#joinerNonce = joinerNonce
    return { send: encodeJoinMessage('offer', { nonce, credentials }) }
  }

  #onProof({ tokenId, proof }: JoinMessageBody<'proof'>, joinerNonce: Uint8Array, nowMs: number): AdmitterStep {
    const { meshId, publicKey: admitterKey, joinerKey, nonce: admitterNonce, tokens } = this.#options
    const transcript = { meshId, admitterKey, joinerKey, admitterNonce, joinerNonce, tokenId }
    const joiner = nodeIdOf(joinerKey)
    if (this.#options.isNodeRevoked(joiner)) return this.#refuse('nodeRevoked')
    let tokenKey: Uint8Array | undefined
    const redeemed = tokens.redeem(
      tokenId,
      joiner,
      (key) => {
        tokenKey = key
        return isSameProof(proof, joinProof(key, 'joiner', transcript))
      },
      nowMs,
    )
    if ('refusal' in redeemed) return this.#refuse(redeemed.refusal)
    if (tokenKey === undefined) throw new Error('a token was redeemed without a proof')
    const { role } = redeemed
    const credentials = this.#options.issue(joinerKey, role, nowMs)
    this.#isDone = true
    const send = encodeJoinMessage('welcome', {
      credentials,
      proof: joinProof(tokenKey, 'admitter', transcript, credentials),
    })
    return { send, end: { role, tokenId } }
  }

  #refuse(refusal: JoinRefusal): AdmitterStep {
    this.#isDone = true
    return { send: encodeJoinMessage('refused', { reason: refusal }), end: { refusal } }
  }
}
