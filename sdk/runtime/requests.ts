import { OwnerDiedError } from '../../protocols/errors.ts'
import type { ClientId, NodeId } from '../../protocols/ids.ts'

interface Request {
  client: ClientId | undefined
  resolve: (answer: never) => void
  reject: (error: unknown) => void
}

/** Who has taken a question back is told why it had no answer within this time. */
export const lastWordMs = 250

/** Questions that this process has asked and that are not answered yet. */
export class Requests {
  readonly #requests = new Map<number, Request>()
  #nextId = 1
  /** Why nobody answers any more. */
  #end: { readonly error: Error } | undefined

  /**
   * Sends a question and waits for its answer. `client` is who was asked, when it was not the node: if that process ends
   * first, the answer is an OwnerDiedError. Rejects at once when nobody answers any more: the node is gone, or this process
   * has taken leave of it.
   */
  ask<T>(client: ClientId | undefined, send: (requestId: number) => void): Promise<T> {
    if (this.#end !== undefined) return Promise.reject(this.#end.error)
    const requestId = this.#nextId++
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    this.#requests.set(requestId, { client, resolve, reject })
    send(requestId)
    return promise
  }

  /**
   * Asks the node. When the signal aborts first, takes the question back: the node says what has kept it, if it does so at
   * once. Rejects with the signal's reason if not.
   */
  async askUntil<T>(
    signal: AbortSignal,
    { send, cancel }: { send(requestId: number): void; cancel(requestId: number): void },
  ): Promise<T> {
    signal.throwIfAborted()
    let id = 0
    const answered = this.ask<T>(undefined, (requestId) => {
      id = requestId
      send(requestId)
    })
    let timer: NodeJS.Timeout | undefined
    const onAbort = (): void => {
      timer = setTimeout(() => this.fail(id, signal.reason), lastWordMs)
      cancel(id)
    }
    signal.addEventListener('abort', onAbort)
    try {
      return await answered
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  answer(requestId: number, answer: unknown): void {
    const request = this.#requests.get(requestId)
    this.#requests.delete(requestId)
    request?.resolve(answer as never)
  }

  fail(requestId: number, error: unknown): void {
    const request = this.#requests.get(requestId)
    this.#requests.delete(requestId)
    request?.reject(error)
  }

  /** Processes are gone; whoever waits for them hears so. */
  failClients(isGone: (client: ClientId) => boolean, error: unknown): void {
    for (const [requestId, { client }] of this.#requests) {
      if (client !== undefined && isGone(client)) this.fail(requestId, error)
    }
  }

  /** Nobody answers any more: what waits fails, and so does whatever is asked later. The first error stays. */
  failAll(error: Error): void {
    this.#end ??= { error }
    for (const requestId of [...this.#requests.keys()]) this.fail(requestId, error)
  }
}

/** For what was owned on a node that is gone, or that cannot be reached any more. */
export function ownersNodeDied(node: NodeId, reason: string): OwnerDiedError {
  return new OwnerDiedError(`the node that this object's owner was on (${node}) is gone: ${reason}`, { node, reason })
}

export function ownerDied(client: ClientId): OwnerDiedError {
  return new OwnerDiedError(`the process that owns this object (client ${client}) has ended, and its objects with it`, {
    owner: client,
  })
}
