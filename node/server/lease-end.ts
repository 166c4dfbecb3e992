import type { Frame } from '../../protocols/frame.ts'
import type { ClientId } from '../../protocols/ids.ts'
import type { MessageBody, MessageName } from '../../protocols/messages.ts'

/** One end of a lease, or of a conversation: a client of this node, or one of another node that a link leads to. */
export interface LeaseEnd {
  readonly id: ClientId
  /** False: console output is not for it. */
  readonly wantsLogs: boolean
  /** Bytes that wait for it to read. */
  readonly unsentBytes: number
  send<N extends MessageName>(name: N, body: MessageBody<N>): void
  /** Passes a received frame on; `leaseId`, if given, takes the place of the number that its body begins with. */
  forward(frame: Frame, leaseId?: number): void
}
