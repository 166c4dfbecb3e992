import { GetTimeoutError, InvalidArgumentError } from '../../protocols/errors.ts'
import { isActorHandle, type ActorHandle } from '../actors/actor-handle.ts'
import { shown } from '../actors/actor-names.ts'
import { defaultNamespace, shortName } from '../actors/actor-options.ts'
import type { AnyClass } from '../actors/actor-types.ts'
import { currentRuntime } from '../runtime/current-runtime.ts'
import { timerMs } from '../runtime/timer-ms.ts'
import type { RemoteClass } from './remote-class.ts'
import { amount, boolean, checkOptions, show } from './task-options.ts'

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

export interface GetActorOptions {
  /** Where the name is known. @default 'default' */
  namespace?: string
  /** How long to wait for the answer of the mesh, in milliseconds: it has none while it has no head. @default 15000 */
  timeoutMs?: number
}

const getActorChecks = { namespace: shortName, timeoutMs: amount }

/** The class of which an actor is: `typeof Counter`, of a remote class or of a plain one. */
type ClassOf<T> = T extends RemoteClass<infer C> ? C : T extends AnyClass ? T : AnyClass

/**
 * The actor that has a name: made by `.options({ name }).remote()`, anywhere in the mesh. The handle is like any other: the
 * actor lives as long as there is one. The type tells the methods, and is not checked.
 *
 * Rejects with ActorNotFoundError, at once, when no actor has the name; GetTimeoutError after `timeoutMs`; UnreachableError
 * when the mesh has had no head for long; InvalidArgumentError for a name or an option that is none.
 *
 * @example
 * const kept = Counter.options({ name: 'hits' }).remote() // perhaps in another program
 * const counter = await getActor<typeof Counter>('hits')
 * console.log(await get(counter.add.remote(1))) // 1
 */
export async function getActor<T extends RemoteClass | AnyClass = AnyClass>(
  name: string,
  options: GetActorOptions = {},
): Promise<ActorHandle<ClassOf<T>>> {
  shortName(name, 'the name given to getActor()')
  checkOptions(options, getActorChecks, 'getActor()')
  const { namespace = defaultNamespace, timeoutMs } = options
  const runtime = currentRuntime()
  const found = runtime.waiting(runtime.actors.find({ namespace, name }))
  if (timeoutMs === undefined) return (await found) as ActorHandle<ClassOf<T>>
  const { promise: late, reject } = Promise.withResolvers<never>()
  const where = shown({ namespace, name })
  const timer = setTimeout(() => {
    reject(new GetTimeoutError(`the mesh has not told within ${timeoutMs} ms which actor is called ${where}`))
  }, timerMs(timeoutMs))
  try {
    return (await Promise.race([found, late])) as ActorHandle<ClassOf<T>>
  } finally {
    clearTimeout(timer)
    found.catch(() => undefined)
  }
}
