import { InvalidArgumentError } from '../../protocols/errors.ts'
import { isActorHandle, type ActorHandle } from '../actors/actor-handle.ts'
import type { AnyClass } from '../actors/actor-types.ts'
import { currentRuntime } from '../runtime/current-runtime.ts'
import { boolean, checkOptions, show } from './task-options.ts'

export interface KillOptions {
  /** True: the actor is not started again, whatever its `maxRestarts` says. @default true */
  noRestart?: boolean
}

const killChecks = { noRestart: boolean }

/**
 * Ends an actor at once, in the middle of whatever it does: its process is killed, and no exit hook runs. Calls that have no
 * result yet fail with ActorDiedError. What is dead already stays so.
 *
 * Throws InvalidArgumentError for what is no handle.
 *
 * @example
 * const counter = Counter.remote()
 * kill(counter)
 */
export function kill(handle: ActorHandle<AnyClass>, options: KillOptions = {}): void {
  if (!isActorHandle(handle)) throw new InvalidArgumentError(`kill() takes a handle of an actor; got ${show(handle)}`)
  checkOptions(options, killChecks, 'kill()')
  currentRuntime().actors.kill(handle, options.noRestart === false)
}
