import type { RemoteFunction } from '../api/remote-function.ts'
import { functionHere } from './call-here.ts'
import { itemFailed } from './pooled-actors.ts'

/** Any function, as it travels. */
export type Shipped = RemoteFunction<never, unknown, never>

/** Some calls that follow each other. */
export interface Chunk {
  /** The number of its first item among all. */
  readonly from: number
  /** The arguments of each call. */
  readonly calls: readonly (readonly unknown[])[]
}

/** One process of a Pool: an actor that calls what it is given. */
export class PoolWorker {
  readonly #initializer: Shipped | undefined
  readonly #initArgs: readonly unknown[]

  constructor(initializer: Shipped | undefined, initArgs: readonly unknown[]) {
    this.#initializer = initializer
    this.#initArgs = initArgs
  }

  async onStart(): Promise<void> {
    if (this.#initializer !== undefined) await call(this.#initializer, this.#initArgs)
  }

  /** Answers when it has started. */
  ready(): void {
    // Nothing else.
  }

  /** The results of all calls, or an ItemFailedError for the first that fails. */
  async run(fn: Shipped, what: string, { from, calls }: Chunk): Promise<unknown[]> {
    const here = (await functionHere(fn)) as (...args: unknown[]) => unknown
    const results: unknown[] = []
    for (const [at, args] of calls.entries()) {
      try {
        results.push(await here(...args))
      } catch (error) {
        throw itemFailed(what, { index: from + at, error })
      }
    }
    return results
  }

  /** The result of one call. */
  async apply(fn: Shipped, args: readonly unknown[]): Promise<unknown> {
    return call(fn, args)
  }
}

async function call(fn: Shipped, args: readonly unknown[]): Promise<unknown> {
  return ((await functionHere(fn)) as (...args: unknown[]) => unknown)(...args)
}
