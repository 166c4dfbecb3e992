import { UnreachableError } from '../../../protocols/errors.ts'
import type { JoinConversation } from '../../../node/network/network.ts'

/** One end of a conversation in memory. */
class ConversationEnd implements JoinConversation {
  readonly publicKey: Uint8Array
  readonly address: string
  /** All that this end has said. */
  readonly said: Uint8Array[] = []
  other: ConversationEnd | undefined
  readonly #messages: Uint8Array[] = []
  #waiting: PromiseWithResolvers<Uint8Array> | undefined
  #isClosed = false

  constructor(publicKey: Uint8Array, address: string) {
    this.publicKey = publicKey
    this.address = address
  }

  send(message: Uint8Array): void {
    this.said.push(message)
    this.other?.take(message)
  }

  async receive(): Promise<Uint8Array> {
    const next = this.#messages.shift()
    if (next !== undefined) return next
    if (this.#isClosed) throw new UnreachableError('the other side has ended the conversation')
    this.#waiting = Promise.withResolvers()
    return this.#waiting.promise
  }

  close(): void {
    this.ended()
    this.other?.ended()
  }

  take(message: Uint8Array): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting === undefined) this.#messages.push(message)
    else waiting.resolve(message)
  }

  ended(): void {
    this.#isClosed = true
    this.#waiting?.reject(new UnreachableError('the other side has ended the conversation'))
    this.#waiting = undefined
  }
}

/** A conversation in memory between a joiner and an admitter, whose keys each end knows of the other. */
export function conversationPair(
  joinerKey: Uint8Array,
  admitterKey: Uint8Array,
  joinerAddress = '/ip4/192.0.2.7/tcp/50000',
): { joiner: ConversationEnd; admitter: ConversationEnd } {
  const joiner = new ConversationEnd(admitterKey, '/ip4/192.0.2.1/tcp/7461')
  const admitter = new ConversationEnd(joinerKey, joinerAddress)
  joiner.other = admitter
  admitter.other = joiner
  return { joiner, admitter }
}
