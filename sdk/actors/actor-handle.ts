import { inspect } from 'node:util'
import { InvalidArgumentError } from '../../protocols/errors.ts'
import type { ObjectId } from '../../protocols/ids.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import { currentRuntime } from '../runtime/current-runtime.ts'
import { checkMethodOptions } from './actor-options.ts'
import type { AnyClass, ActorMethods, MethodOptions } from './actor-types.ts'

/** What a class offers to callers, as it travels with its handles. */
export interface ClassDescription {
  readonly className: string
  /** Method names; true for generators. */
  readonly methods: Readonly<Record<string, boolean>>
  readonly concurrencyGroups: readonly string[]
  readonly hasExitHook: boolean
}

/** What every handle of an actor knows. */
export interface ActorDescription extends ClassDescription {
  readonly name: string
  readonly namespace: string
  readonly isDetached: boolean
  readonly maxTaskRetries: number
  /** 0 for no limit. */
  readonly maxPendingCalls: number
}

export interface HandleParts {
  readonly id: ObjectId
  /** Keeps the actor alive; undefined for those that live without. */
  readonly life: ObjectRef | undefined
  readonly description: ActorDescription
}

/** Opens a handle for the SDK. */
export let partsOf: (handle: ActorHandle) => HandleParts

/** What is asked of any object now and then, so that a missing method must not be an error. */
const usual = new Set(['then', 'toJSON', 'constructor', 'asymmetricMatch', 'nodeType', '$$typeof', 'inspect'])

/** A method that there is not: an error when it is called, which names those that there are. */
const unknownMethods = new Proxy(Object.create(null) as object, {
  get(_, name, receiver): unknown {
    if (typeof name === 'symbol' || usual.has(name) || name in Object.prototype)
      return Reflect.get(Object.prototype, name, receiver)
    const refuse = (): never => {
      const { className, methods } = partsOf(receiver as ActorHandle).description
      const known = Object.keys(methods)
      throw new InvalidArgumentError(
        `actor ${className} has no method ${name}; it has ${known.length === 0 ? 'none' : known.join(', ')} (functions in fields are no methods)`,
        { method: name, methods: known },
      )
    }
    return { remote: refuse, options: refuse }
  },
})

/**
 * A handle of an actor: calls its methods, from any process of the mesh. It can be passed to tasks and to other actors, put
 * inside values, and closed over. An actor of which no handle is left anywhere ends, unless it is detached.
 */
class ActorHandleBase {
  readonly #parts: HandleParts

  constructor(parts: HandleParts) {
    this.#parts = parts
  }

  [inspect.custom](): string {
    const { id, description } = this.#parts
    return `ActorHandle(${description.className}, ${description.name === '' ? id : description.name})`
  }

  static {
    partsOf = (handle) => (handle as unknown as ActorHandleBase).#parts
  }
}
Object.setPrototypeOf(ActorHandleBase.prototype, unknownMethods)

/** {@inheritDoc ActorHandleBase} */
export type ActorHandle<C extends AnyClass = AnyClass> = ActorHandleBase & ActorMethods<InstanceType<C>>

/** True for handles of actors. */
export function isActorHandle(value: unknown): value is ActorHandle {
  return value instanceof ActorHandleBase
}

const classes = new Map<string, new (parts: HandleParts) => ActorHandleBase>()
const classesMax = 1000

/** A handle with a method for each of the class. Classes of handles are made once for each set of methods. */
export function createHandle(parts: HandleParts): ActorHandle {
  const { methods } = parts.description
  const key = JSON.stringify(methods)
  let handleClass = classes.get(key)
  if (handleClass === undefined) {
    handleClass = class extends ActorHandleBase {}
    for (const [name, isGenerator] of Object.entries(methods)) {
      Object.defineProperty(handleClass.prototype, name, {
        get(this: ActorHandle) {
          const method = new BoundMethod(this, name, isGenerator, {})
          // The next one need not be made.
          Object.defineProperty(this, name, { value: method })
          return method
        },
      })
    }
    if (classes.size < classesMax) classes.set(key, handleClass)
  }
  return new handleClass(parts) as unknown as ActorHandle
}

/** A method of one actor. */
export class BoundMethod {
  readonly handle: ActorHandle
  readonly method: string
  readonly isGenerator: boolean
  readonly methodOptions: MethodOptions

  constructor(handle: ActorHandle, method: string, isGenerator: boolean, options: MethodOptions) {
    this.handle = handle
    this.method = method
    this.isGenerator = isGenerator
    this.methodOptions = options
    // `actor.method.remote` is often passed on alone: to map(), to a timer.
    this.remote = this.remote.bind(this)
  }

  remote(...args: unknown[]): unknown {
    return currentRuntime().actors.call(this, args)
  }

  options(options: MethodOptions): BoundMethod {
    const { description } = partsOf(this.handle)
    checkMethodOptions(options, description)
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
    return new BoundMethod(this.handle, this.method, this.isGenerator, { ...this.methodOptions, ...given })
  }

  [inspect.custom](): string {
    return `ActorMethod(${partsOf(this.handle).description.className}.${this.method})`
  }
}
