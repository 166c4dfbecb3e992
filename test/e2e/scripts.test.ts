import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { temporaryDirectory } from '../support/daemon-process.ts'

const main = fileURLToPath(new URL('../../scripts/main.ts', import.meta.url))

/** What a verb prints with --json, run as a user would. */
async function run(...args: string[]): Promise<Record<string, unknown>> {
  const env = { ...process.env, SHOAL_RUNTIME_DIR: temporaryDirectory() }
  const { stdout } = await promisify(execFile)(process.execPath, [main, ...args, '--json'], { env })
  return JSON.parse(stdout) as Record<string, unknown>
}

describe('scripts', () => {
  test('the demo finds parameters', async () => {
    const result = await run('demo', '--candidates', '2', '--seed', '7', '--compare', 'none')
    assert.match(JSON.stringify(result), /"gamma":/)
  })

  test('the benchmark measures', async () => {
    const result = await run('bench', '--rounds', '1', '--only', 'worker cold start')
    assert.match(JSON.stringify(result), /"worker cold start"/)
  })
})
