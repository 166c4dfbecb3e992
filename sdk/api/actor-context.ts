import { ActorDiedError, NotInitializedError } from '../../protocols/errors.ts'

/** What an actor can know of itself. */
export interface ActorContext {
  readonly actorId: string
  readonly className: string
  /** The name by which others find it; '' for none. */
  readonly name: string
  readonly namespace: string
  /** How often it was started again after its process had died: 0 the first time. */
  readonly restarts: number
  /** True when there was one before it, whose state is lost. */
  readonly wasRestarted: boolean
  /** The node that it runs on. */
  readonly nodeId: string
  /** The GPUs that it may use. */
  readonly gpuIds: readonly number[]
}

/** What the actor of this process is to the SDK. */
interface CurrentActor {
  readonly context: ActorContext
  exit(reason: string, isNow: boolean): void
}

let current: CurrentActor | undefined

/** @internal Says that this process is an actor. */
export function setCurrentActor(actor: CurrentActor): void {
  current = actor
}

/**
 * What the actor in whose process this is called can know of itself: its constructor, too.
 *
 * Throws NotInitializedError outside of an actor.
 *
 * @example
 * const Cache = remote(class {
 *   constructor() { if (actorContext().wasRestarted) console.log('the cache was lost') }
 * })
 */
export function actorContext(): ActorContext {
  return currentActor('actorContext()').context
}

/**
 * Ends the actor in whose process this is called: what runs in it goes on to its end, what waits fails with ActorDiedError,
 * its `onExit` and `Symbol.asyncDispose` run, and it is not started again. The call that ends it fails with ActorDiedError.
 *
 * Throws NotInitializedError outside of an actor.
 *
 * @example
 * const Job = remote(class { stop() { exitActor() } })
 */
export function exitActor(): never {
  const actor = currentActor('exitActor()')
  const reason = 'it has ended itself by exitActor()'
  actor.exit(reason, true)
  const { className, actorId } = actor.context
  throw new ActorDiedError(`actor ${className} is dead: ${reason}`, { details: { actor: actorId, reason } })
}

function currentActor(what: string): CurrentActor {
  if (current === undefined) throw new NotInitializedError(`${what} is for code that runs in an actor`)
  return current
}
