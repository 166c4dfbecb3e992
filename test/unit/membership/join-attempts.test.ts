import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { JoinAttempts } from '../../../node/membership/join-attempts.ts'
import { minuteMs, startMs } from './mesh-fixture.ts'

/** So many that all fail; gives how many were allowed. */
function tries(attempts: JoinAttempts, count: number, address: (i: number) => string, nowMs = startMs): number {
  let allowed = 0
  for (let i = 0; i < count; i++) {
    if (!attempts.mayTry(address(i), nowMs)) continue
    attempts.failed(address(i), nowMs)
    allowed++
  }
  return allowed
}

describe('join attempts', () => {
  test('ten a minute from one host, whatever its ports', () => {
    const attempts = new JoinAttempts()
    assert.equal(
      tries(attempts, 30, (i) => `/ip4/192.0.2.7/tcp/${50_000 + i}`),
      10,
    )
    assert.equal(
      tries(attempts, 30, (i) => `/ip4/192.0.2.8/tcp/${i}`),
      10,
    )
    assert.equal(
      tries(attempts, 1, () => '/ip4/192.0.2.7/tcp/1', startMs + minuteMs - 1),
      0,
    )
    assert.equal(
      tries(attempts, 30, () => '/ip4/192.0.2.7/tcp/1', startMs + minuteMs),
      10,
    )
  })

  test('an IPv6 host cannot use all addresses of its network', () => {
    const attempts = new JoinAttempts()
    assert.equal(
      tries(attempts, 30, (i) => `/ip6/2001:db8::${i.toString(16)}/tcp/1`),
      10,
    )
    assert.equal(
      tries(attempts, 30, (i) => `/ip6/2001:0db8:0:0:${i}:2:3:4/tcp/1`),
      0,
    )
    assert.equal(
      tries(attempts, 30, (i) => `/ip6/2001:db8:0:1::${i}/tcp/1`),
      10,
    )
    assert.equal(
      tries(attempts, 30, () => '/ip6/::ffff:192.0.2.7/tcp/1'),
      10,
    )
    assert.equal(
      tries(attempts, 30, () => '/ip6/::ffff:192.0.2.8/tcp/1'),
      10,
    )
  })

  test('a hundred a minute from all', () => {
    const attempts = new JoinAttempts()
    assert.equal(
      tries(attempts, 500, (i) => `/ip4/192.0.${i >> 8}.${i & 255}/tcp/1`),
      100,
    )
    assert.equal(
      tries(attempts, 1, () => '/ip4/198.51.100.1/tcp/1', startMs + minuteMs),
      1,
    )
  })

  test('those that are under way do not count', () => {
    const attempts = new JoinAttempts()
    for (let i = 0; i < 200; i++) assert.ok(attempts.mayTry('/ip4/192.0.2.7/tcp/1', startMs))
    for (let i = 0; i < 200; i++) attempts.failed('/ip4/192.0.2.7/tcp/1', startMs)
    assert.ok(!attempts.mayTry('/ip4/192.0.2.8/tcp/1', startMs))
    assert.ok(attempts.mayTry('/ip4/192.0.2.7/tcp/1', startMs + minuteMs))
  })

  test('a clock that was set back locks nobody out', () => {
    const attempts = new JoinAttempts()
    tries(attempts, 30, () => '/ip4/192.0.2.7/tcp/1')
    assert.equal(
      tries(attempts, 30, () => '/ip4/192.0.2.7/tcp/1', startMs - 10 * minuteMs),
      10,
    )
  })

  test('addresses of any form are taken', () => {
    for (const address of [
      '',
      '/',
      'x',
      '/ip6/:::::/tcp',
      '/ip6//tcp',
      '127.0.0.1:80',
      '/memory/a',
      '\0'.repeat(10_000),
    ]) {
      const attempts = new JoinAttempts()
      assert.equal(
        tries(attempts, 30, () => address),
        10,
      )
    }
  })
})
