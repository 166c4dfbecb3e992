import type { ObjectRef } from '../objects/object-ref.ts'
import type { ObjectRefStream } from '../runtime/object-ref-stream.ts'
import type { TaskOptions } from './task-options.ts'

/** Every argument may also be a ref to its value. */
export type RemoteArguments<A extends readonly unknown[]> = { [K in keyof A]: A[K] | ObjectRef<A[K]> }

type AnyGenerator<T> = Generator<T, unknown, never> | AsyncGenerator<T, unknown, never>

/** What a generator yields, or what the items of another iterable are. */
type ItemOf<R> = R extends AsyncIterable<infer T> ? T : R extends Iterable<infer T> ? T : never

export type DefaultReturns<R> = [R] extends [never] ? 1 : R extends AnyGenerator<unknown> ? 'streaming' : 1

/** The `numReturns` that options ask for, or else the default. */
export type NumReturnsOf<O extends TaskOptions, Default> = O extends {
  numReturns: infer N extends number | 'streaming'
}
  ? N
  : Default

/** What a call gives: a ref, an array of refs, or a stream of them. */
export type Returned<R, N> = N extends 'streaming'
  ? ObjectRefStream<ItemOf<R>>
  : N extends 1
    ? ObjectRef<R>
    : R extends readonly unknown[]
      ? { -readonly [K in keyof R]: ObjectRef<R[K]> }
      : ObjectRef<unknown>[]
