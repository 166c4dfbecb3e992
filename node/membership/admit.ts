import type { NodeId } from '../../protocols/ids.ts'
import type { MemberRole } from '../../protocols/membership.ts'
import type { JoinConversation } from '../network/network.ts'
import { AdmitterSteps, type AdmitterStepsOptions } from './admitter-steps.ts'
import { nodeIdOf } from './identity.ts'
import type { JoinAttempts } from './join-attempts.ts'
import { encodeJoinMessage, nonceBytes, type JoinRefusal } from './join-messages.ts'
import { joinRefusalError } from './join-refusal.ts'

/** What a member needs to admit others. */
export interface Admitter extends Omit<AdmitterStepsOptions, 'joinerKey' | 'nonce'> {
  readonly attempts: JoinAttempts
  nowMs(): number
  random(count: number): Uint8Array
  /** Resolves when the uses that were taken are on the disk. */
  saveTokens(): Promise<void>
}

/** How a join has ended, for the log. `error` says why the node was not admitted. */
export type AdmitOutcome =
  | { readonly isAdmitted: true; readonly node: NodeId; readonly role: MemberRole; readonly tokenId: string }
  | { readonly isAdmitted: false; readonly node: NodeId; readonly error: Error }

/** Has a conversation with a node that wants to join, and closes it. Never rejects: the outcome says what went wrong. */
export async function admit(conversation: JoinConversation, admitter: Admitter): Promise<AdmitOutcome> {
  const { publicKey: joinerKey, address } = conversation
  const { attempts, nowMs, random, saveTokens } = admitter
  const node = nodeIdOf(joinerKey)
  const refuse = (reason: JoinRefusal): AdmitOutcome => {
    conversation.send(encodeJoinMessage('refused', { reason }))
    return { isAdmitted: false, node, error: joinRefusalError(reason) }
  }
  let mayBeGuess = false
  try {
    if (!attempts.mayTry(address, nowMs())) return refuse('tooManyTries')
    mayBeGuess = true
    const steps = new AdmitterSteps({ ...admitter, joinerKey, nonce: random(nonceBytes) })
    for (;;) {
      const { send, end } = steps.receive(await conversation.receive(), nowMs())
      if (end === undefined) {
        conversation.send(send)
      } else if ('refusal' in end) {
        // Only who does not know a secret may be guessing.
        mayBeGuess = end.refusal === 'unknown'
        return refuse(end.refusal)
      } else {
        mayBeGuess = false
        try {
          await saveTokens()
        } catch (error) {
          refuse('failed')
          return { isAdmitted: false, node, error: error as Error }
        }
        conversation.send(send)
        return { isAdmitted: true, node, ...end }
      }
    }
  } catch (error) {
    return { isAdmitted: false, node, error: error as Error }
  } finally {
    if (mayBeGuess) attempts.failed(address, nowMs())
    conversation.close()
  }
}
