import {
  ItemFailedError,
  PoolClosedError,
  PoolEmptyError,
  ShoalError,
  type ActorDiedError,
} from '../../protocols/errors.ts'
import { partsOf, type ActorHandle } from '../actors/actor-handle.ts'
import { cancel, get } from '../api/values.ts'
import { currentRuntime, hasRuntime } from '../runtime/current-runtime.ts'
import { ActorDesk } from './actor-desk.ts'

/** A desk for actors of this mesh. */
export function deskOf<A extends ActorHandle>(): ActorDesk<A> {
  return new ActorDesk<A>({
    get: (ref) => get(ref),
    cancel: (ref) => cancel(ref),
    // Without a runtime every call fails by itself.
    isDead: (actor) => hasRuntime() && currentRuntime().actors.isDead(actor),
    over: async (actor, ref) => {
      if (hasRuntime()) await currentRuntime().actors.over(actor, ref)
    },
    waiting: async (promise) => {
      if (hasRuntime()) await currentRuntime().waiting(promise)
    },
    isDeathOf: (actor, error) => isDeathOf(actor, error),
    retriesOf: (actor) => partsOf(actor).description.maxTaskRetries,
  })
}

function isDeathOf(actor: ActorHandle, { details }: ActorDiedError): boolean {
  const { actor: died } = details
  return died === undefined || died === partsOf(actor).id
}

/** The error for one item of many. That there is nobody to work on it is not about the item. */
export function itemFailed(what: string, { index, error }: { index: number; error: unknown }): ShoalError {
  if (error instanceof PoolEmptyError || error instanceof PoolClosedError) return error
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return new ItemFailedError(`item ${index} of ${what} has failed: ${text}`, {
    cause: error,
    retryable: error instanceof ShoalError && error.retryable,
    details: { index },
  })
}
