import type { DefaultReturns, RemoteArguments, Returned } from '../api/remote-types.ts'

/** Any class. */
export type AnyClass = abstract new (...args: never[]) => object

/** What the constructor of a class takes. */
export type ConstructorArguments<C extends AnyClass> = C extends abstract new (...args: infer A) => object ? A : never

/**
 * The methods of an actor that can be called from outside: those of its class that are no hooks of its life, and that not every
 * object has.
 */
export type MethodNames<I> = {
  [K in keyof I]: K extends 'onStart' | 'onExit' | keyof typeof Object.prototype
    ? never
    : K extends string
      ? I[K] extends AnyMethod
        ? K
        : never
      : never
}[keyof I]

// The type that every function has.
type AnyMethod = (...args: never[]) => unknown

/** What may be changed for single calls of a method. */
export interface MethodOptions {
  /** As for tasks: how many objects a call makes, or `'streaming'`. @default 1, for generators 'streaming' */
  numReturns?: number | 'streaming'
  /** The concurrency group that the call counts for. @default that of the method */
  concurrencyGroup?: string
  /** How often a call is made again when its actor is started anew under it; -1 for no end. @default the actor's own */
  maxTaskRetries?: number
  /** Whether errors that the method throws are retried, too: all, none, or those of some classes. @default false */
  retryExceptions?: boolean | readonly (abstract new (...args: never[]) => unknown)[]
  /** On how many nodes large results are kept. @default 1 */
  replicas?: number
  /** The name in messages and before console output. @default the class and the method */
  name?: string
}

type ReturnsOf<O extends MethodOptions, Default> = O extends { numReturns: infer N extends number | 'streaming' }
  ? N
  : Default

/** A method of an actor, as a handle has it. */
export interface ActorMethod<A extends readonly unknown[], R, N extends number | 'streaming' = DefaultReturns<R>> {
  /**
   * Calls the method in the actor's process and returns at once with a ref to its result (refs, or a stream of refs, by
   * `numReturns`). Calls of one process reach the actor in their order. An ObjectRef given as an argument is replaced by its
   * value first.
   *
   * Throws NotCloneableError when an argument cannot travel, PendingCallsLimitError over `maxPendingCalls`. What happens to
   * the call itself is thrown by `get`: the method's own error, ActorDiedError, ActorUnavailableError.
   */
  remote(...args: RemoteArguments<A>): Returned<R, N>
  /** The same method with other options for its calls. */
  options<const O extends MethodOptions>(options: O): ActorMethod<A, R, ReturnsOf<O, N>>
}

/** Handles of actors of a class: a method for each of its methods. */
export type ActorMethods<I> = {
  readonly [K in MethodNames<I>]: I[K] extends (...args: infer A) => infer R ? ActorMethod<A, Awaited<R>> : never
}
