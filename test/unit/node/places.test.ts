import assert from 'node:assert/strict'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { cacheDirectory } from '../../../node/home/compile-cache.ts'
import { stateDirectoryOf } from '../../../node/home/state-directory.ts'
import { placesOf } from '../../../protocols/places.ts'
import { temporaryDirectory } from '../../support/daemon-process.ts'

const runtimeOf = (env: Record<string, string>): string =>
  placesOf({ env, userId: 7, temporaryDirectory: '/tmp' }).runtimeDirectory

for (const odd of ['', 'here', './here']) {
  test(`variables that say ${JSON.stringify(odd)} count as not set`, () => {
    assert.equal(runtimeOf({ XDG_RUNTIME_DIR: odd }), '/tmp/shoal-7')
    const home = path.join(os.homedir(), '.local', 'state', 'shoal')
    assert.equal(stateDirectoryOf({}, { XDG_STATE_HOME: odd }), home)
    const before = { cache: process.env['XDG_CACHE_HOME'], home: process.env['HOME'] }
    const directory = temporaryDirectory()
    Object.assign(process.env, { XDG_CACHE_HOME: odd, HOME: directory })
    try {
      assert.equal(cacheDirectory('worker'), path.join(directory, '.cache', 'shoal', 'worker'))
    } finally {
      if (before.cache === undefined) delete process.env['XDG_CACHE_HOME']
      else process.env['XDG_CACHE_HOME'] = before.cache
      process.env['HOME'] = before.home
    }
  })
}

test('those of the user say where, unless they are empty', () => {
  assert.equal(runtimeOf({ SHOAL_RUNTIME_DIR: '', XDG_RUNTIME_DIR: '/run/7' }), '/run/7/shoal')
  assert.equal(runtimeOf({ SHOAL_RUNTIME_DIR: '/own' }), '/own')
  assert.equal(stateDirectoryOf({}, { SHOAL_STATE_DIR: '', SHOAL_RUNTIME_DIR: '', XDG_STATE_HOME: '/s' }), '/s/shoal')
  assert.equal(stateDirectoryOf({}, { SHOAL_STATE_DIR: '/own' }), '/own')
  assert.equal(stateDirectoryOf({}, { SHOAL_RUNTIME_DIR: '/run/7' }), '/run/7/state')
})
