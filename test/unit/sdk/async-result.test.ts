import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { GetTimeoutError, InvalidArgumentError } from '../../../protocols/errors.ts'
import { AsyncResult } from '../../../sdk/pools/async-result.ts'

describe('AsyncResult', () => {
  test('knows whether the call is over, and how', async () => {
    const { promise, resolve } = Promise.withResolvers<number>()
    const result = new AsyncResult(promise)
    assert.equal(result.ready(), false)
    assert.throws(() => result.successful(), InvalidArgumentError)
    resolve(1)
    assert.equal(await result.get(), 1)
    assert.deepEqual([result.ready(), result.successful()], [true, true])
  })

  test('an error is thrown by get() alone, and is no unhandled rejection', async () => {
    const result = new AsyncResult(Promise.reject(new RangeError('no')))
    await result.wait()
    assert.deepEqual([result.ready(), result.successful()], [true, false])
    await assert.rejects(result.get(), /no/)
  })

  test('get() and wait() end with their time, or by the signal, and can be called again', async () => {
    const { promise, resolve } = Promise.withResolvers<number>()
    const result = new AsyncResult(promise)
    await assert.rejects(result.get({ timeoutMs: 1 }), GetTimeoutError)
    await result.wait({ timeoutMs: 1 })
    await assert.rejects(result.wait({ signal: AbortSignal.abort(new Error('enough')) }), /enough/)
    const controller = new AbortController()
    const waiting = result.get({ signal: controller.signal })
    controller.abort(new Error('enough'))
    await assert.rejects(waiting, /enough/)
    resolve(2)
    assert.equal(await result.get({ timeoutMs: 1000 }), 2)
  })
})
