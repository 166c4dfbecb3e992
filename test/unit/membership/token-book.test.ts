import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { InvalidArgumentError } from '../../../protocols/errors.ts'
import { JoinToken } from '../../../node/membership/join-token.ts'
import { TokenBook } from '../../../node/membership/token-book.ts'
import { dayMs, minuteMs, refusal, startMs } from './mesh-fixture.ts'
import { seededBytes } from './seeded-bytes.ts'

const random = seededBytes(3)
const by = '00112233445566aa'
const ada = 'aaaaaaaaaaaaaaaa'
const bob = 'bbbbbbbbbbbbbbbb'
const yes = (): boolean => true

function newToken(): JoinToken {
  return new JoinToken(random(32), random(16))
}

describe('token book', () => {
  test('lists what was made, without anything secret', () => {
    const book = new TokenBook()
    const token = newToken()
    const info = book.create(token, { role: 'worker', ttlMs: minuteMs, uses: 3, by }, startMs)
    const expected = {
      id: token.id,
      role: 'worker' as const,
      createdAtMs: startMs,
      expiresAtMs: startMs + minuteMs,
      uses: 3,
      usesLeft: 3,
      by,
    }
    assert.deepEqual(info, expected)
    assert.deepEqual(book.list(startMs), [expected])
    assert.deepEqual(book.list(startMs + minuteMs), [])
  })

  test('refuses times and numbers that make no sense', () => {
    const book = new TokenBook()
    for (const bad of [
      { ttlMs: 0 },
      { ttlMs: 1.5 },
      { ttlMs: Infinity },
      { uses: 0 },
      { uses: -1 },
      { uses: NaN },
      { uses: 1001 },
    ]) {
      assert.throws(
        () => book.create(newToken(), { role: 'worker', ttlMs: 1000, uses: 1, by, ...bad }, startMs),
        InvalidArgumentError,
      )
    }
    assert.deepEqual(book.list(startMs), [])
  })

  test('each use counts once; then it is used up', () => {
    const book = new TokenBook()
    const token = newToken()
    book.create(token, { role: 'admin', ttlMs: dayMs, uses: 2, by }, startMs)
    assert.deepEqual(book.redeem(token.id, ada, yes, startMs), { role: 'admin' })
    assert.equal(book.list(startMs)[0]?.usesLeft, 1)
    assert.deepEqual(book.redeem(token.id, bob, yes, startMs), { role: 'admin' })
    assert.deepEqual(book.redeem(token.id, 'cccccccccccccccc', yes, startMs), { refusal: 'usedUp' })
  })

  test('the same node may come again within a minute for the same use, even when none is left', () => {
    const book = new TokenBook()
    const token = newToken()
    book.create(token, { role: 'worker', ttlMs: dayMs, uses: 1, by }, startMs)
    book.redeem(token.id, ada, yes, startMs)
    assert.deepEqual(book.redeem(token.id, ada, yes, startMs + minuteMs - 1), { role: 'worker' })
    assert.deepEqual(book.redeem(token.id, ada, yes, startMs + minuteMs), { refusal: 'usedUp' })
  })

  test('who cannot prove the token hears nothing of it', () => {
    const book = new TokenBook()
    const token = newToken()
    book.create(token, { role: 'worker', ttlMs: minuteMs, uses: 1, by }, startMs)
    const no = (): boolean => false
    assert.deepEqual(book.redeem(token.id, ada, no, startMs), { refusal: 'unknown' })
    assert.deepEqual(book.redeem(token.id, ada, no, startMs + minuteMs), { refusal: 'unknown' })
    assert.deepEqual(book.redeem(newToken().id, ada, yes, startMs), { refusal: 'unknown' })
    assert.equal(book.list(startMs)[0]?.usesLeft, 1)
    let key: Uint8Array | undefined
    book.redeem(token.id, ada, (given) => ((key = given), true), startMs)
    assert.deepEqual(key, token.key)
  })

  test('an expired one says so for a day, then it is not known', () => {
    const book = new TokenBook()
    const token = newToken()
    book.create(token, { role: 'worker', ttlMs: minuteMs, uses: 1, by }, startMs)
    assert.deepEqual(book.redeem(token.id, ada, yes, startMs + minuteMs), { refusal: 'expired' })
    book.create(newToken(), { role: 'worker', ttlMs: minuteMs, uses: 1, by }, startMs + 2 * dayMs)
    assert.deepEqual(book.redeem(token.id, ada, yes, startMs + 2 * dayMs), { refusal: 'unknown' })
  })

  test('a revoked one is refused, even to who has just used it', () => {
    const book = new TokenBook()
    const token = newToken()
    book.create(token, { role: 'worker', ttlMs: minuteMs, uses: 5, by }, startMs)
    book.redeem(token.id, ada, yes, startMs)
    book.revoke(token.id)
    assert.deepEqual(book.redeem(token.id, ada, yes, startMs), { refusal: 'revoked' })
    assert.deepEqual(book.list(startMs), [])
    assert.throws(() => book.revoke('0000000000000000'), InvalidArgumentError)
  })

  test('holds a thousand; the used up and revoked make room, open ones do not', () => {
    const book = new TokenBook()
    const tokens = Array.from({ length: 1000 }, () => newToken())
    const options = { role: 'worker', ttlMs: dayMs, uses: 1, by } as const
    for (const token of tokens) book.create(token, options, startMs)
    assert.throws(() => book.create(newToken(), options, startMs), refusal('tooManyTokens'))
    const [first, second] = tokens
    assert.ok(first && second)
    book.revoke(second.id)
    book.create(newToken(), options, startMs)
    assert.deepEqual(book.redeem(second.id, ada, yes, startMs), { refusal: 'unknown' })
    book.redeem(first.id, ada, yes, startMs)
    book.create(newToken(), options, startMs)
    assert.throws(() => book.create(newToken(), options, startMs), refusal('tooManyTokens'))
    book.create(newToken(), options, startMs + 3 * dayMs)
    assert.equal(book.list(startMs + 3 * dayMs).length, 1)
  })

  test('a full book can be written and read again', () => {
    const book = new TokenBook()
    for (let i = 0; i < 1000; i++) {
      const token = newToken()
      book.create(token, { role: 'worker', ttlMs: dayMs, uses: 1000, by }, startMs)
      for (let use = 0; use < 70; use++) {
        book.redeem(token.id, (i * 100 + use).toString(16).padStart(16, '0'), yes, startMs)
      }
    }
    const encoded = book.encode()
    assert.ok(encoded.length < 2 * 1024 * 1024)
    const again = new TokenBook(encoded)
    assert.deepEqual(again.list(startMs), book.list(startMs))
    assert.equal(again.list(startMs)[0]?.usesLeft, 930)
  })

  test('what was used stays used after a restart', () => {
    const book = new TokenBook()
    const token = newToken()
    book.create(token, { role: 'worker', ttlMs: dayMs, uses: 1, by }, startMs)
    book.redeem(token.id, ada, yes, startMs)
    const again = new TokenBook(book.encode())
    assert.deepEqual(again.redeem(token.id, bob, yes, startMs), { refusal: 'usedUp' })
    assert.deepEqual(again.redeem(token.id, ada, yes, startMs), { role: 'worker' })
  })
})
