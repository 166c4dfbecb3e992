import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { NodeUnavailableError } from '../../../protocols/errors.ts'
import { StateFiles } from '../../../node/membership/state-files.ts'

async function withFiles(run: (files: StateFiles) => Promise<void>): Promise<void> {
  const parent = await mkdtemp(path.join(tmpdir(), 'shoal-state-'))
  try {
    const files = new StateFiles(path.join(parent, 'a', 'state'))
    await files.open()
    await run(files)
  } finally {
    await rm(parent, { recursive: true, force: true })
  }
}

/** Matches an error that names the file and a way out, and does not ask to try again. */
function names(file: string, message: RegExp): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof NodeUnavailableError)
    assert.ok(error.message.includes(file), error.message)
    assert.match(error.message, message)
    assert.equal(error.retryable, false)
    return true
  }
}

const modeOf = async (file: string): Promise<number> => (await stat(file)).mode & 0o777

describe('state files', () => {
  test('what is written can be read, by this user only', () =>
    withFiles(async (files) => {
      assert.equal(await files.read('tokens'), undefined)
      const content = Uint8Array.from([1, 2, 3, 10, 0])
      await files.write('tokens', content)
      assert.deepEqual(await files.read('tokens'), content)
      assert.equal(await modeOf(files.directory), 0o700)
      assert.equal(await modeOf(path.join(files.directory, 'tokens')), 0o600)
      assert.deepEqual(await readdir(files.directory), ['tokens'])
      await files.remove('tokens')
      assert.equal(await files.read('tokens'), undefined)
      await files.remove('tokens')
    }))

  test('the last of many writes wins', () =>
    withFiles(async (files) => {
      const writes = Array.from({ length: 50 }, (_, i) => files.write('revocations', Uint8Array.of(i)))
      await Promise.all(writes)
      assert.deepEqual(await files.read('revocations'), Uint8Array.of(49))
      void files.write('revocations', Uint8Array.of(50))
      void files.remove('revocations')
      await files.settled()
      assert.equal(await files.read('revocations'), undefined)
    }))

  test('what a cut-short write has left does no harm', () =>
    withFiles(async (files) => {
      await files.write('credentials', Uint8Array.of(1))
      await writeFile(path.join(files.directory, 'credentials.new'), 'half', { mode: 0o644 })
      assert.deepEqual(await files.read('credentials'), Uint8Array.of(1))
      await files.write('credentials', Uint8Array.of(2))
      assert.deepEqual(await files.read('credentials'), Uint8Array.of(2))
      assert.equal(await modeOf(path.join(files.directory, 'credentials')), 0o600)
    }))

  test('every change of a byte and every cut is noticed', () =>
    withFiles(async (files) => {
      const file = path.join(files.directory, 'root.key')
      await files.write('root.key', new Uint8Array(32).fill(7))
      const good = await readFile(file)
      for (let at = 0; at < good.length; at++) {
        const changed = Buffer.from(good)
        changed[at] = (changed[at] ?? 0) ^ 0x20
        await writeFile(file, changed)
        await assert.rejects(files.read('root.key'), names(file, /damaged: restore it from a backup/))
      }
      for (const length of [0, 1, 50, good.length - 1]) {
        await writeFile(file, good.subarray(0, length))
        await assert.rejects(files.read('root.key'), names(file, /damaged/))
      }
      await writeFile(file, Buffer.alloc(10_000_000))
      await assert.rejects(files.read('root.key'), names(file, /damaged/))
    }))

  test("one file in another's place is noticed", () =>
    withFiles(async (files) => {
      await files.write('root.key', new Uint8Array(32))
      const file = path.join(files.directory, 'identity.key')
      await writeFile(file, await readFile(path.join(files.directory, 'root.key')), { mode: 0o600 })
      await assert.rejects(files.read('identity.key'), names(file, /damaged/))
    }))

  for (const mode of [0o640, 0o604, 0o660, 0o666]) {
    test(`a secret with mode ${mode.toString(8)} is refused`, () =>
      withFiles(async (files) => {
        const file = path.join(files.directory, 'identity.key')
        await files.write('identity.key', new Uint8Array(32))
        await chmod(file, mode)
        await assert.rejects(files.read('identity.key'), names(file, /chmod 600/))
        await chmod(file, 0o600)
        await files.read('identity.key')
      }))
  }

  test('a folder that others may write to is refused', () =>
    withFiles(async (files) => {
      await chmod(files.directory, 0o770)
      await assert.rejects(files.open(), names(files.directory, /chmod 700/))
      await chmod(files.directory, 0o750)
      await files.open()
    }))

  test('a folder that cannot be made, and a file that is a folder, are named', () =>
    withFiles(async (files) => {
      await writeFile(path.join(files.directory, 'x'), '')
      const bad = path.join(files.directory, 'x', 'y')
      await assert.rejects(new StateFiles(bad).open(), names(bad, /cannot be used/))
    }))

  test('a write that fails says so, and the next is tried', () =>
    withFiles(async (files) => {
      await rm(files.directory, { recursive: true })
      await assert.rejects(files.write('tokens', Uint8Array.of(1)), names('tokens', /cannot be written/))
      await files.open()
      await files.write('tokens', Uint8Array.of(1))
    }))
})
