import { randomBytes } from 'node:crypto'
import { MembershipError } from '../../protocols/errors.ts'
import type { JoinConversation } from '../network/network.ts'
import type { Identity } from './identity.ts'
import { nonceBytes } from './join-messages.ts'
import type { JoinToken } from './join-token.ts'
import { JoinerSteps } from './joiner-steps.ts'

/**
 * Asks a member to admit this node, and closes the conversation.
 *
 * @returns the credentials, checked, for `Membership.adoptCredentials`. Rejects with MembershipError when either side
 *   refuses the other, UnreachableError when the other side does not answer, ProtocolError when it talks nonsense.
 */
export async function requestToJoin(
  conversation: JoinConversation,
  token: JoinToken,
  identity: Identity,
  { nowMs = Date.now, random = randomBytes }: { nowMs?: () => number; random?: (count: number) => Uint8Array } = {},
): Promise<Uint8Array> {
  const { publicKey: admitterKey, address } = conversation
  const steps = new JoinerSteps({ token, identity, admitterKey, nonce: random(nonceBytes) })
  try {
    conversation.send(steps.start())
    for (;;) {
      const step = steps.receive(await conversation.receive(), nowMs())
      if ('credentials' in step) return step.credentials
      conversation.send(step.send)
    }
  } catch (error) {
    if (!(error instanceof MembershipError)) throw error
    throw new MembershipError(`could not join over ${address}: ${error.message}`, error.details)
  } finally {
    conversation.close()
  }
}
