import { GetTimeoutError, InvalidArgumentError } from '../../protocols/errors.ts'
import { checkOptions } from '../api/task-options.ts'
import { getChecks, type GetOptions } from '../api/values.ts'
import { settledWithin } from './settled-within.ts'

/** A call of a Pool that goes on by itself. */
export class AsyncResult<R> {
  readonly #result: Promise<R>
  #state: 'pending' | 'done' | 'failed' = 'pending'

  /** @internal `Pool.applyAsync()` makes them. */
  constructor(result: Promise<R>) {
    this.#result = result
    result.then(
      () => (this.#state = 'done'),
      () => (this.#state = 'failed'),
    )
  }

  /** True when the call is over, well or not. */
  ready(): boolean {
    return this.#state !== 'pending'
  }

  /** True when it has given a result. Throws InvalidArgumentError while it goes on. */
  successful(): boolean {
    if (this.#state === 'pending') throw new InvalidArgumentError('the call goes on: successful() is not known yet')
    return this.#state === 'done'
  }

  /** Waits until the call is over, or the time is up. */
  async wait(options: GetOptions = {}): Promise<void> {
    checkOptions(options, getChecks, 'AsyncResult.wait()')
    try {
      await settledWithin(this.#result, options, timedOut)
    } catch (error) {
      if (!(error instanceof GetTimeoutError)) throw error
    }
  }

  /** The result. Rejects with the error of the call, and with GetTimeoutError when it is not there in time. */
  async get(options: GetOptions = {}): Promise<R> {
    checkOptions(options, getChecks, 'AsyncResult.get()')
    await settledWithin(this.#result, options, timedOut)
    return this.#result
  }
}

function timedOut(timeoutMs: number): GetTimeoutError {
  return new GetTimeoutError(`the result is not there after ${timeoutMs} ms; the call goes on`, { timeoutMs })
}
