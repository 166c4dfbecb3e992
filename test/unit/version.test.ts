import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { shoalVersion } from '../../protocols/version.ts'

test('the version in the code is that of the package', () => {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  assert.equal((JSON.parse(text) as { version: string }).version, shoalVersion)
})
