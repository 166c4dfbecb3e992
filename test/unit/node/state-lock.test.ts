import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { takeStateLock, thisProcess, type LockHolder } from '../../../node/home/state-lock.ts'
import { NodeUnavailableError } from '../../../protocols/errors.ts'
import { temporaryDirectory } from '../../support/daemon-process.ts'

const minuteMs = 60_000

/** A folder that the process has locked and not released. */
function lockedBy(holder: Partial<LockHolder>): string {
  const directory = temporaryDirectory()
  writeFileSync(path.join(directory, 'node.lock'), JSON.stringify({ ...thisProcess(), ...holder }))
  return directory
}

function isRefused(directory: string, nowMs = Date.now()): boolean {
  try {
    takeStateLock(directory, { nowMs: () => nowMs })()
    return false
  } catch (error) {
    assert.ok(error instanceof NodeUnavailableError)
    assert.match(error.message, /a node on .* \(pid \d+\) uses the state folder .*set SHOAL_STATE_DIR/)
    return true
  }
}

describe('a state folder', () => {
  test('is for one node at a time', () => {
    const directory = path.join(temporaryDirectory(), 'state')
    const release = takeStateLock(directory)
    assert.ok(isRefused(directory))
    assert.deepEqual(readdirSync(directory), ['node.lock'])
    release()
    assert.deepEqual(readdirSync(directory), [])
    takeStateLock(directory)()
  })

  test('of a dead process is free', async () => {
    const child = spawn(process.execPath, ['--version'])
    await once(child, 'exit')
    const directory = lockedBy({ pid: child.pid ?? 0 })
    assert.ok(!isRefused(directory))
    assert.ok(!existsSync(path.join(directory, 'node.lock')))
    assert.deepEqual(readdirSync(directory), [])
  })

  test('of a process whose pid another one has now is free', { skip: !existsSync('/proc/self/stat') }, () => {
    assert.ok(!isRefused(lockedBy({ startedAt: '1' })))
    assert.ok(isRefused(lockedBy({})))
  })

  test('from before the machine was started anew is free', () => {
    assert.ok(!isRefused(lockedBy({ bootId: 'earlier' })))
  })

  test('of another machine or container is free when that has not touched it for two minutes', () => {
    for (const elsewhere of [{ host: 'elsewhere', bootId: 'other' }, { pidNamespace: 'pid:[1]' }]) {
      const directory = lockedBy(elsewhere)
      assert.ok(isRefused(directory))
      assert.ok(isRefused(directory, Date.now() + minuteMs))
      assert.ok(!isRefused(directory, Date.now() + 3 * minuteMs))
    }
  })

  test('that cannot be made is told by its name', () => {
    const file = path.join(temporaryDirectory(), 'file')
    writeFileSync(file, '')
    assert.throws(
      () => takeStateLock(path.join(file, 'state')),
      (error) =>
        error instanceof NodeUnavailableError && /the state folder .*file\/state cannot be used/.test(error.message),
    )
  })

  test('with a lock that cannot be read is free', () => {
    const directory = temporaryDirectory()
    writeFileSync(path.join(directory, 'node.lock'), '')
    assert.ok(!isRefused(directory))
  })

  test('a release leaves the lock of whoever has taken it since', () => {
    const directory = temporaryDirectory()
    const release = takeStateLock(directory)
    const other = JSON.stringify({ ...thisProcess(), host: 'elsewhere' })
    writeFileSync(path.join(directory, 'node.lock'), other)
    release()
    assert.deepEqual(readdirSync(directory), ['node.lock'])
  })
})
