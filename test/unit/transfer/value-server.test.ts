import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ObjectLostError } from '../../../protocols/errors.ts'
import { ChunkSet } from '../../../node/transfer/chunks.ts'
import { answerHeaderBytes, decodeAnswer, encodeRequest } from '../../../node/transfer/value-frames.ts'
import { ValueServer, type PartialValue } from '../../../node/transfer/value-server.ts'
import { bulkPair } from '../../support/bulk-pair.ts'

const mib = 1024 * 1024
const name = 'ab'.repeat(22)

test('what there is of new is told at once, but not more often than every 50 ms on one stream', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let nowMs = 0
  const have = new ChunkSet(3)
  const value: PartialValue = { bytes: 6 * mib, have, use: () => Promise.resolve(), more: () => Promise.resolve() }
  const server = new ValueServer({
    store: { has: () => false, open: () => Promise.resolve(undefined) },
    mark: '',
    partial: () => value,
    onAsked: () => {},
    holders: () => [],
    stallMs: 60_000,
    now: () => nowMs,
    log: () => {},
  })
  const [mine, theirs] = bulkPair()
  const serving = server.serve('1'.padStart(16, '0'), theirs)
  let answers = 0
  const ask = async (): Promise<number> => {
    await mine.write(encodeRequest({ kind: 'have', requestId: answers, name, index: 0, mark: '' }))
    const header = Buffer.alloc(answerHeaderBytes)
    await mine.readInto(header)
    const { status, restBytes } = decodeAnswer(header)
    assert.equal(status, 'have')
    const rest = Buffer.alloc(restBytes)
    await mine.readInto(rest)
    answers += 1
    return new ChunkSet(3, rest).count
  }
  const pass = async (ms: number): Promise<void> => {
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
    nowMs += ms
    t.mock.timers.tick(ms)
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
  }
  have.add(0)
  assert.equal(await ask(), 1)
  const second = ask()
  await pass(49)
  assert.equal(answers, 1)
  have.add(1)
  await pass(1)
  assert.equal(answers, 2)
  assert.equal(await second, 2, 'it is told of what has come meanwhile')
  await pass(50)
  assert.equal(await ask(), 2, 'what was told long ago does not count')
  mine.abort('the test is over')
  await serving
})

test('only what is lost here is said to be: another error when it is opened may pass', async () => {
  for (const [error, expected] of [
    [new ObjectLostError('its file is damaged', { name }), 'lost'],
    [new Error('EMFILE: too many open files'), 'busy'],
  ] as const) {
    const server = new ValueServer({
      store: { has: () => true, open: () => Promise.reject(error) },
      mark: '',
      partial: () => undefined,
      onAsked: () => {},
      holders: () => [],
      stallMs: 60_000,
      now: () => 0,
      log: () => {},
    })
    const [mine, theirs] = bulkPair()
    const serving = server.serve('1'.padStart(16, '0'), theirs)
    await mine.write(encodeRequest({ kind: 'chunk', requestId: 1, name, index: 0, mark: '' }))
    const header = Buffer.alloc(answerHeaderBytes)
    await mine.readInto(header)
    assert.equal(decodeAnswer(header).status, expected)
    mine.abort('the test is over')
    await serving
  }
})
