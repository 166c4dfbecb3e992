import assert from 'node:assert/strict'
import { LeaseBook } from '../../../node/leases/lease-book.ts'
import type { LeaseBookOptions } from '../../../node/leases/lease-book-options.ts'
import type { LeaseAction, LeaseEvent, RequestedEvent } from '../../../node/leases/lease-events.ts'

export type ActionOf<T extends LeaseAction['type']> = Extract<LeaseAction, { type: T }>

/** A lease book with a clock of its own, short ways to step it, and a memory of all that it answered. */
export class BookHarness {
  readonly book: LeaseBook
  readonly actions: LeaseAction[] = []
  nowMs = 1_000
  #startsAtOnce: boolean
  #lastRequestId = 0

  /** With `startsAtOnce`, workers report ready as soon as they are to be started. */
  constructor(options: LeaseBookOptions, { startsAtOnce = true } = {}) {
    this.book = new LeaseBook(options)
    this.#startsAtOnce = startsAtOnce
    this.step({ type: 'tick' })
    this.actions.length = 0
  }

  /** Steps once, and again for every worker that becomes ready by it. Returns all actions. */
  step(event: LeaseEvent): LeaseAction[] {
    const actions = this.book.step(event, this.nowMs)
    this.actions.push(...actions)
    const all = [...actions]
    if (!this.#startsAtOnce) return all
    for (const action of actions) {
      if (action.type === 'startWorker') all.push(...this.step({ type: 'workerReady', workerId: action.workerId }))
    }
    return all
  }

  tick(afterMs: number): LeaseAction[] {
    this.nowMs += afterMs
    return this.step({ type: 'tick' })
  }

  request(fields: Partial<RequestedEvent> = {}): { requestId: number; actions: LeaseAction[] } {
    const requestId = fields.requestId ?? ++this.#lastRequestId
    const defaults = { client: 'driver', resources: { CPU: 1 }, envKey: '', depth: 0, label: 'f' } as const
    return { requestId, actions: this.step({ type: 'requested', ...defaults, ...fields, requestId }) }
  }

  /** A request that is granted at once. */
  lease(fields: Partial<RequestedEvent> = {}): ActionOf<'grant'> {
    return only(this.request(fields).actions, 'grant')
  }

  returned({ client, leaseId }: { client: string; leaseId: number }): LeaseAction[] {
    return this.step({ type: 'returned', client, leaseId })
  }
}

export function all<T extends LeaseAction['type']>(actions: readonly LeaseAction[], type: T): ActionOf<T>[] {
  return actions.filter((action): action is ActionOf<T> => action.type === type)
}

/** The one action of this type. */
export function only<T extends LeaseAction['type']>(actions: readonly LeaseAction[], type: T): ActionOf<T> {
  const found = all(actions, type)
  const [first] = found
  assert.ok(first !== undefined && found.length === 1, `expected one ${type} in ${JSON.stringify(actions)}`)
  return first
}
