import { inspect } from 'node:util'
import type { ObjectId } from '../../protocols/ids.ts'
import type { ActorHandle, ClassDescription } from '../actors/actor-handle.ts'
import {
  checkGroupMethods,
  resolveActorOptions,
  type ActorOptions,
  type ResolvedActorOptions,
} from '../actors/actor-options.ts'
import { describeMethods, hasExitHook } from '../actors/describe-methods.ts'
import type { AnyClass, ConstructorArguments } from '../actors/actor-types.ts'
import type { AnyFunction, FunctionTable } from '../functions/function-table.ts'
import { shownName } from '../functions/shown-name.ts'
import { currentRuntime } from '../runtime/current-runtime.ts'
import type { FunctionRecord } from '../tasks/task-record.ts'
import { inOwnGroup } from './own-group.ts'
import type { RemoteArguments } from './remote-types.ts'

type Target = { cls: AnyFunction } | { id: ObjectId }

/** What a remote class takes along when it is sent to another process. */
interface Description {
  className: string
  methods: Record<string, boolean>
  hasExitHook: boolean
  options: ActorOptions
}

/**
 * A class whose instances are actors: each in a worker process of its own, anywhere in the mesh. Made by `remote(class)`; it
 * can be passed to tasks and closed over by remote functions.
 */
export class RemoteClass<C extends AnyClass = AnyClass> {
  readonly #target: Target
  readonly #description: Description
  readonly #resolved: ResolvedActorOptions
  /** Only in the type system: whose handles `remote` gives. */
  declare protected readonly classType: C

  /** @internal Use `remote()`. */
  constructor(target: Target, description: Description) {
    this.#target = target
    this.#description = description
    this.#resolved = resolveActorOptions(description.options)
    checkGroupMethods(this.#resolved.groups, this.describeMethods())
    this.remote = this.remote.bind(this)
  }

  /** @internal The remote class of a class of this program. */
  static of<C extends AnyClass>(cls: C, options: ActorOptions): RemoteClass<C> {
    const target = { cls: cls as unknown as AnyFunction }
    const described = { methods: describeMethods(cls), hasExitHook: hasExitHook(cls.prototype as object) }
    return new RemoteClass<C>(target, { className: shownName(cls), ...described, options })
  }

  /**
   * Makes an actor: a worker process is found or started for it, and runs the constructor with these arguments. Returns a
   * handle at once; an error of the constructor is thrown by the calls of its methods, as ActorDiedError with the error as
   * its cause. An ObjectRef given as an argument is replaced by its value first.
   *
   * Throws FunctionNotShippableError or NotCloneableError when the class or an argument cannot travel, NotInitializedError
   * before `init()`.
   *
   * @example
   * const Counter = remote(class { n = 0; add(k: number) { return (this.n += k) } })
   * const counter = Counter.remote()
   * console.log(await get(counter.add.remote(2))) // 2
   */
  remote(...args: RemoteArguments<ConstructorArguments<C>>): ActorHandle<C> {
    return currentRuntime().actors.create(this, args, inOwnGroup(this.#resolved)) as ActorHandle<C>
  }

  /** The same class with other options; those not named stay as they are. */
  options(options: ActorOptions): RemoteClass<C> {
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
    return new RemoteClass<C>(this.#target, {
      ...this.#description,
      options: { ...this.#description.options, ...given },
    })
  }

  get name(): string {
    return this.#description.className
  }

  /** @internal The class, when this process can ship it. */
  get local(): { fn: AnyFunction; name: string } | undefined {
    return 'cls' in this.#target ? { fn: this.#target.cls, name: this.name } : undefined
  }

  /** @internal */
  describeMethods(): ClassDescription {
    const { className, methods, hasExitHook: hook } = this.#description
    return { className, methods, concurrencyGroups: this.#resolved.groups.map(({ name }) => name), hasExitHook: hook }
  }

  /** @internal Captures the class if that has not been done. */
  prepare(functions: FunctionTable): FunctionRecord {
    const target = this.#target
    return 'cls' in target ? functions.ship(target.cls, this.name) : functions.foreignRecord(target.id, this.name)
  }

  /** @internal How it travels inside a value. */
  describe(functions: FunctionTable): { id: ObjectId; data: Description } {
    return { id: this.prepare(functions).id, data: this.#description }
  }

  /** @internal The remote class that another process described. */
  static revive(id: ObjectId, data: unknown): RemoteClass {
    return new RemoteClass({ id }, data as Description)
  }

  [inspect.custom](): string {
    return `RemoteClass(${this.name})`
  }
}
