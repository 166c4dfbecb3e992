import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { temporaryDirectory } from '../support/daemon-process.ts'

const main = fileURLToPath(new URL('../../scripts/main.ts', import.meta.url))

/** What a verb prints, run as a user would. Rejects when its exit code is not 0. */
async function printed(...args: string[]): Promise<string> {
  const env = { ...process.env, SHOAL_RUNTIME_DIR: temporaryDirectory() }
  return (await promisify(execFile)(process.execPath, [main, ...args], { env })).stdout
}

async function run(...args: string[]): Promise<Record<string, unknown>> {
  return JSON.parse(await printed(...args, '--json')) as Record<string, unknown>
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

  test('a short soak leaves nothing behind', async () => {
    assert.match(
      await printed('soak', '--minutes', '0', '--objects', '400', '--kill-every', '1', '--kill-nodes-every', '3'),
      /nodes killed/,
    )
  })
})
