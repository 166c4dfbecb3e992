import { MembershipError, ProtocolError } from '../../protocols/errors.ts'
import { mayAdmit } from '../../protocols/membership.ts'
import { checkCredentials } from './certificate.ts'
import type { Identity } from './identity.ts'
import { decodeJoinMessage, encodeJoinMessage, joinVersion, type JoinMessageBody } from './join-messages.ts'
import { isSameProof, joinProof, type JoinTranscript } from './join-proof.ts'
import { joinRefusalError } from './join-refusal.ts'
import type { JoinToken } from './join-token.ts'

export interface JoinerStepsOptions {
  readonly token: JoinToken
  readonly identity: Identity
  /** The admitter's key, proven by the connection. */
  readonly admitterKey: Uint8Array
  /** Random, for this conversation only. */
  readonly nonce: Uint8Array
}

/** What to do after a message: say something, or be a member. */
export type JoinerStep = { readonly send: Uint8Array } | { readonly credentials: Uint8Array }

/** The joining side of a join. It does not even name its token before the other has proven to belong to the mesh. */
export class JoinerSteps {
  readonly #options: JoinerStepsOptions
  #transcript: JoinTranscript | undefined
  #isDone = false

  constructor(options: JoinerStepsOptions) {
    this.#options = options
  }

  /** The first message. */
  start(): Uint8Array {
    const { token, nonce } = this.#options
    return encodeJoinMessage('hello', { version: joinVersion, meshId: token.meshId, nonce })
  }

  /** Throws MembershipError when it is refused or refuses, ProtocolError for what does not belong here. */
  receive(message: Uint8Array, nowMs: number): JoinerStep {
    const { name, body } = decodeJoinMessage(message)
    if (this.#isDone) throw new ProtocolError(`a ${name} after the end of a join`)
    if (name === 'refused') {
      this.#isDone = true
      throw joinRefusalError(body.reason)
    }
    if (name === 'offer' && this.#transcript === undefined) return { send: this.#onOffer(body, nowMs) }
    if (name === 'welcome' && this.#transcript !== undefined) {
      this.#isDone = true
      return { credentials: this.#onWelcome(body, this.#transcript, nowMs) }
    }
    throw new ProtocolError(`a ${name} out of turn in a join`)
  }

  #onOffer({ nonce: admitterNonce, credentials }: JoinMessageBody<'offer'>, nowMs: number): Uint8Array {
    const { token, identity, admitterKey, nonce } = this.#options
    const { meshId } = token
    const { role } = checkCredentials(credentials, admitterKey, { meshId, nowMs, isRevoked: () => false })
    if (!mayAdmit(role)) throw new MembershipError('it is no admin', { reason: 'notAdmin' })
    this.#transcript = {
      meshId,
      admitterKey,
      joinerKey: identity.publicKey,
      admitterNonce,
      joinerNonce: nonce,
      tokenId: token.id,
    }
    return encodeJoinMessage('proof', { tokenId: token.id, proof: joinProof(token.key, 'joiner', this.#transcript) })
  }

  #onWelcome(
    { credentials, proof }: JoinMessageBody<'welcome'>,
    transcript: JoinTranscript,
    nowMs: number,
  ): Uint8Array {
    const { token, identity } = this.#options
    if (!isSameProof(proof, joinProof(token.key, 'admitter', transcript, credentials))) {
      throw new MembershipError('it has not proven that it knows the token', { reason: 'forged' })
    }
    checkCredentials(credentials, identity.publicKey, { meshId: token.meshId, nowMs, isRevoked: () => false })
    return Uint8Array.from(credentials)
  }
}
