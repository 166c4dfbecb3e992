/** Errors of shipped code name the user's file and line. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { failDeep } from './fixtures/library.ts'
import { placeOf } from './place-of.ts'
import { ShippedError, ShipWorker } from './ship-worker.ts'

const worker = new ShipWorker()
after(() => worker.stop())

const library = new URL('./fixtures/library.ts', import.meta.url)
const limit = 3

/** Asserts that a line of a stack names the place of some text in a file. */
function assertAt(
  line: string | undefined,
  name: string,
  text: string,
  file: string | URL = import.meta.filename,
): void {
  const end = `/${String(file).split('/').at(-1)}:${placeOf(file, text)}`
  const shown = line?.replace(/\)$/, '') ?? ''
  assert.ok(shown.endsWith(end), `${shown} should be at ${end}`)
  assert.ok(shown.includes(`at ${name}`), `${shown} should be ${name}`)
}
function check(x: number): number {
  if (x > limit) throw new RangeError('too large')
  return x
}
class Checker {
  readonly #strict = true
  check(x: number): number {
    return this.#strict ? check(x) : x
  }
}

async function stackOf(fn: (...args: never[]) => unknown, ...args: unknown[]): Promise<string[]> {
  try {
    await worker.run(fn, ...args)
  } catch (error) {
    if (error instanceof ShippedError) return error.workerStack.split('\n')
    throw error
  }
  return assert.fail('it did not throw')
}

test('top-level functions and classes', async () => {
  const stack = await stackOf((x: number) => {
    const doubled = x * 2
    return new Checker().check(doubled)
  }, 5)
  assert.equal(stack[0], 'RangeError: too large')
  assertAt(stack[1], 'check', 'new RangeError')
  assertAt(stack[2], 'Checker.check', 'check(x) : x')
  assertAt(stack[3], '', 'check(doubled)')
})

test('imported files', async () => {
  const stack = await stackOf(() => failDeep())
  assertAt(stack[1], 'fail', "new LibraryError('deep')", library)
  assertAt(stack[2], 'failDeep', 'fail() // here', library)
  assertAt(stack[3], '', 'failDeep())')
})

test('functions that were shipped on by shipped functions', async () => {
  const stack = await stackOf(() =>
    process.shipOn(() => {
      const x = limit
      return process.shipOn((y: number) => check(x + y), 4)
    }),
  )
  assertAt(stack[1], 'check', 'new RangeError')
  assertAt(stack[2], '', 'check(x + y)')
})
