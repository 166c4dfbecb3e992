import { inspect } from 'node:util'
import { InvalidArgumentError } from '../../protocols/errors.ts'
import type { ObjectId } from '../../protocols/ids.ts'
import type { AnyFunction, FunctionTable } from '../functions/function-table.ts'
import { shownName } from '../functions/shown-name.ts'
import type { ActorOptions } from '../actors/actor-options.ts'
import type { AnyClass } from '../actors/actor-types.ts'
import { currentRuntime } from '../runtime/current-runtime.ts'
import type { FunctionRecord } from '../tasks/task-record.ts'
import { inOwnGroup } from './own-group.ts'
import { RemoteClass } from './remote-class.ts'
import type { NumReturnsOf, DefaultReturns, RemoteArguments, Returned } from './remote-types.ts'
import { resolveTaskOptions, show, type ResolvedOptions, type TaskOptions } from './task-options.ts'

type Target = { fn: AnyFunction; name: string } | { id: ObjectId; name: string }

/** What a remote function takes along when it is sent to another process. */
interface Description {
  name: string
  isGenerator: boolean
  options: TaskOptions
}

/**
 * A function that runs on a worker. Made by {@link remote}; it can be passed to tasks and closed over by other remote
 * functions.
 */
export class RemoteFunction<
  A extends readonly unknown[] = readonly unknown[],
  R = unknown,
  N extends number | 'streaming' = DefaultReturns<R>,
> {
  readonly #target: Target
  readonly #options: TaskOptions
  readonly #resolved: ResolvedOptions
  /** @internal */
  readonly isGenerator: boolean

  /** @internal Use `remote()`. */
  constructor(target: Target, isGenerator: boolean, options: TaskOptions) {
    this.#target = target
    this.isGenerator = isGenerator
    this.#options = options
    this.#resolved = resolveTaskOptions(options)
    // `f.remote` is often passed on alone: to map(), to a timer.
    this.remote = this.remote.bind(this)
  }

  /**
   * Calls the function on a worker and returns at once with a ref to its result (n refs, or a stream of refs, by
   * `numReturns`). An ObjectRef given as an argument is replaced by its value before the function runs; one inside
   * another value stays a ref.
   *
   * Throws FunctionNotShippableError or NotCloneableError when the function or an argument cannot travel,
   * NotInitializedError before `init()`. What happens to the task itself is thrown by `get`.
   */
  remote(...args: RemoteArguments<A>): Returned<R, N> {
    return currentRuntime().call(this as unknown as RemoteFunction, args, inOwnGroup(this.#resolved)) as Returned<R, N>
  }

  /** The same function with other options; those not named stay as they are. */
  options<const O extends TaskOptions>(options: O): RemoteFunction<A, R, NumReturnsOf<O, N>> {
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
    return new RemoteFunction(this.#target, this.isGenerator, { ...this.#options, ...given })
  }

  /** The name in messages, in `shoal status` and before console output. */
  get name(): string {
    return this.#options.name ?? this.#target.name
  }

  /** @internal What it was given that counts for another function, too, which calls it: all but what its results are. */
  get callOptions(): Omit<TaskOptions, 'numReturns'> {
    const { numReturns: _, ...options } = this.#options
    return options
  }

  /** @internal The function, when this process can ship it. */
  get local(): { fn: AnyFunction; name: string } | undefined {
    return 'fn' in this.#target ? this.#target : undefined
  }

  /** @internal Captures the function if that has not been done. */
  prepare(functions: FunctionTable): FunctionRecord {
    const target = this.#target
    return 'fn' in target ? functions.ship(target.fn, target.name) : functions.foreignRecord(target.id, target.name)
  }

  /** @internal How it travels inside a value. */
  describe(functions: FunctionTable): { id: ObjectId; data: Description } {
    // A function that cannot travel is an error here, at the call that sends it, and its name is known from now on.
    const { id, name } = this.prepare(functions)
    // Classes cannot be described; a worker that submits this function retries all of the user's errors or none.
    const { retryExceptions, ...options } = this.#options
    const kept = typeof retryExceptions === 'boolean' ? { ...options, retryExceptions } : options
    return { id, data: { name, isGenerator: this.isGenerator, options: kept } }
  }

  /** @internal The remote function that another process described. */
  static revive(id: ObjectId, data: unknown): RemoteFunction {
    const { name, isGenerator, options } = data as Description
    return new RemoteFunction({ id, name }, isGenerator, options)
  }

  [inspect.custom](): string {
    return `RemoteFunction(${this.name})`
  }
}

const generatorTags = new Set(['GeneratorFunction', 'AsyncGeneratorFunction'])

/**
 * Makes a function remote: its calls run on workers, anywhere in the mesh. The function may use imports, constants,
 * classes and other functions of its module, and what it closes over; those are copied at its first call.
 *
 * @param fn a function, async function, generator or async generator (the last two give a stream of refs)
 * @param options what a call needs and how it is retried; `.options()` changes them for single calls
 *
 * Throws InvalidArgumentError for a wrong option, NotSupportedError for what is not built yet.
 *
 * @example
 * const square = remote((x: number) => x * x)
 * console.log(await get(square.remote(4))) // 16
 */
export function remote<C extends AnyClass>(cls: C, options?: ActorOptions): RemoteClass<C>
export function remote<A extends unknown[], R, const O extends TaskOptions = Record<never, never>>(
  fn: (...args: A) => R,
  options?: O,
): RemoteFunction<A, Awaited<R>, NumReturnsOf<O, DefaultReturns<Awaited<R>>>>
export function remote(fn: AnyFunction | AnyClass, options?: TaskOptions | ActorOptions): RemoteFunction | RemoteClass {
  if (typeof fn !== 'function') {
    throw new InvalidArgumentError(`remote() takes a function; got ${show(fn)}`, { argument: 'fn' })
  }
  if (/^class\b/.test(Function.prototype.toString.call(fn))) {
    return RemoteClass.of(fn as AnyClass, options ?? {})
  }
  const isGenerator = generatorTags.has((fn as unknown as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? '')
  const target = { fn: fn as AnyFunction, name: shownName(fn) }
  return new RemoteFunction(target, isGenerator, options ?? {})
}
