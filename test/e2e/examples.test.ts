import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { DriverProgram } from '../support/driver-program.ts'

/** The files whose docstrings are the documentation of the public API. */
const documented = [
  'sdk/index.ts',
  'sdk/api/init.ts',
  'sdk/api/remote-function.ts',
  'sdk/api/values.ts',
  'sdk/api/task-context.ts',
  'sdk/api/remote-class.ts',
  'sdk/api/actors.ts',
  'sdk/api/actor-context.ts',
  'sdk/api/actor-pool.ts',
  'sdk/api/queue.ts',
  'sdk/api/pool.ts',
  'sdk/api/parallel-map.ts',
  'sdk/api/placement-group.ts',
  'sdk/objects/object-ref.ts',
  'sdk/runtime/object-ref-stream.ts',
  'protocols/errors.ts',
]

/** What the examples take for granted. */
const prelude = `
import {
  actorContext, ActorPool, cancel, exitActor, get, getActor, init, kill, ObjectRefStream, parallelMap, parallelMapIterable, placementGroup, placementGroups, Pool, put,
  Queue, release, remote, removePlacementGroup, ShoalError, shutdown, taskContext, wait, type Bundle, type ObjectRef
} from 'SDK'
const fetch = async (url: string, options: object) => ({ text: async () => url })
await init({ numCpus: 2 })
`
const given = `
const square = remote((x: number) => x * x)
const Counter = remote(class { n = 0; add(k: number) { return (this.n += k) } })
const endless = remote(async () => new Promise(() => undefined))
const ref = square.remote(1)
`

interface Example {
  file: string
  code: string
}

function examplesIn(file: string): Example[] {
  const source = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), 'utf8')
  const blocks = source.match(/\/\*\*[\s\S]*?\*\//g) ?? []
  return blocks.flatMap((block) => {
    const [, example] = /@example\n([\s\S]*?)\s*(?:\n\s*\* @|\*\/$)/.exec(block) ?? []
    return example === undefined ? [] : [{ file, code: example.replace(/^\s*\* ?/gm, '') }]
  })
}

/** What the comments behind console.log() calls say that they print. */
function promised(code: string): string[] {
  const comments = [...code.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)].map(([, text]) => text as string)
  // `0, 1, 2` is what a call in a loop prints; `[0, 1, 2]` is one line.
  return comments.flatMap((text) => (text.startsWith('[') ? [text] : text.split(', ')))
}

describe('the examples of the documentation', () => {
  for (const { file, code } of documented.flatMap(examplesIn)) {
    test(`${file}: ${code.split('\n')[0]}`, async () => {
      const body = code
        .split('\n')
        .filter((line) => !/^import |^await init\(/.test(line))
        .join('\n')
      await using program = new DriverProgram(`${prelude}${given}{\n${body}\n}\nawait shutdown()\n`)
      const { code: exitCode, stdout, stderr } = await program.ended()
      assert.equal(exitCode, 0, stderr)
      const expected = promised(code)
      if (expected.length > 0) assert.equal(stdout.trim(), expected.join('\n').replaceAll(/^\[(.*)\]$/gm, '[ $1 ]'))
    })
  }

  test('there are examples', () => {
    assert.ok(documented.flatMap(examplesIn).length >= 10)
  })
})
