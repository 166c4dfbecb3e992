import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { StoredFiles } from '../../../node/store/stored-files.ts'
import { ObjectStoreFullError } from '../../../protocols/errors.ts'
import { until } from '../../support/daemon-process.ts'

function setUp(t: TestContext) {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'shoal-test-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const pressures: number[] = []
  const clock = { nowMs: 0 }
  const files = new StoredFiles({
    directory,
    bytesMax: 1000,
    now: () => clock.nowMs,
    onPressure: (usedBytes) => pressures.push(usedBytes),
    log: (text) => assert.fail(text),
  })
  const write = (name: string): void => writeFileSync(path.join(directory, name), 'x')
  return { files, directory, pressures, clock, write }
}

function nameOf(n: number): string {
  return n.toString(16).padStart(32, '0')
}

describe('stored files', () => {
  test('bytes are counted once and given back once', (t) => {
    const { files } = setUp(t)
    assert.ok(files.stored(nameOf(1), 100, 'a'))
    assert.ok(files.stored(nameOf(1), 100, 'a'))
    assert.ok(files.stored(nameOf(2), 50, 'b'))
    assert.deepEqual([files.usedBytes, files.count], [150, 2])
    files.freed([nameOf(1), nameOf(1), nameOf(3)])
    assert.deepEqual([files.usedBytes, files.count], [50, 1])
  })

  test('names and sizes that cannot be are refused', (t) => {
    const { files } = setUp(t)
    for (const name of ['', '../x', 'AB'.repeat(16), 'ab', 'a'.repeat(65)])
      assert.equal(files.stored(name, 1, 'a'), false)
    for (const bytes of [-1, 1.5, Number.NaN, Infinity]) assert.equal(files.stored(nameOf(1), bytes, 'a'), false)
    assert.equal(files.usedBytes, 0)
  })

  test('all that an owner had goes with it, and nothing else', async (t) => {
    const { files, directory, write } = setUp(t)
    for (let n = 0; n < 100; n++) {
      write(nameOf(n))
      files.stored(nameOf(n), 1, n < 90 ? 'a' : 'b')
    }
    write('bystander')
    files.freed(['bystander'])
    files.ownerGone('a')
    assert.deepEqual([files.usedBytes, files.count], [10, 10])
    await until('they are deleted', () => readdirSync(directory).length === 11)
    assert.ok(readdirSync(directory).includes('bystander'))
  })

  test('what a writer that is gone never told of is deleted, and nothing else', async (t) => {
    const { files, directory, write } = setUp(t)
    const [writer, other] = ['ab'.repeat(16), 'cd'.repeat(16)]
    const names = [`${writer}000000000001`, `${writer}000000000002`, `${other}000000000001`, 'bystander']
    for (const name of names) write(name)
    files.stored(`${writer}000000000002`, 1, other)
    files.writerGone(writer)
    await until('it is deleted', () => readdirSync(directory).length === 3)
    assert.deepEqual(readdirSync(directory).toSorted(), names.slice(1).toSorted())
    files.writerGone('ef'.repeat(16))
    files.writerGone(other)
    await until('the other one is deleted, too', () => readdirSync(directory).length === 2)
  })

  test('who waits for a deletion is told when the file has gone', async (t) => {
    const { files, directory, write } = setUp(t)
    const names = Array.from({ length: 50 }, (_, n) => nameOf(n))
    for (const name of names) write(name)
    files.freed(names)
    await Promise.all(
      [...names, ...names].map(async (name) => {
        await files.deleted(name)
        assert.equal(existsSync(path.join(directory, name)), false)
      }),
    )
    await files.deleted(nameOf(100))
  })

  test('what is freed is told, known or not', (t) => {
    const { files } = setUp(t)
    const told: string[][] = []
    files.onFreed = (names) => told.push([...names])
    files.stored(nameOf(1), 10, 'a')
    files.freed([nameOf(1), nameOf(2), '../x'])
    files.freed(['../x'])
    files.ownerGone('a')
    assert.deepEqual(told, [[nameOf(1), nameOf(2)]])
  })

  test('what owners of a node had goes with the node, and so do copies of its values', (t) => {
    const { files } = setUp(t)
    const [gone, other] = ['ab'.repeat(8), 'cd'.repeat(8)]
    const [copy, kept] = [`${gone}${'00'.repeat(14)}`, `${other}${'00'.repeat(14)}`]
    files.stored(nameOf(1), 10, `${gone}${'00'.repeat(8)}`)
    files.stored(nameOf(2), 20, `${other}${'00'.repeat(8)}`)
    files.copied(copy, 40)
    files.copied(kept, 80)
    files.ownersOfNodeGone(gone)
    assert.deepEqual([files.usedBytes, files.bytesOf(copy), files.bytesOf(kept)], [100, undefined, 80])
  })

  test('room that is reserved counts, and cannot be had twice', (t) => {
    const { files, pressures } = setUp(t)
    files.reserve(700)
    assert.equal(files.usedBytes, 700)
    assert.throws(() => files.reserve(301), ObjectStoreFullError)
    assert.deepEqual([files.usedBytes, pressures], [700, [700]])
    files.unreserve(700)
    files.reserve(1000)
  })

  test('pressure is told over 80 %, and not again at once', (t) => {
    const { files, pressures, clock } = setUp(t)
    files.stored(nameOf(1), 800, 'a')
    assert.deepEqual(pressures, [])
    files.stored(nameOf(2), 1, 'a')
    files.stored(nameOf(3), 1, 'a')
    assert.deepEqual(pressures, [801])
    clock.nowMs = 200
    files.stored(nameOf(4), 1, 'a')
    assert.deepEqual(pressures, [801, 803])
  })
})
