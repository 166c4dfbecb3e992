import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InvalidArgumentError } from '../../../protocols/errors.ts'
import { resolveTaskOptions } from '../../../sdk/api/task-options.ts'

function refuses(envVars: Record<string, string>, message: RegExp): void {
  assert.throws(
    () => resolveTaskOptions({ runtimeEnv: { envVars } }),
    (error) => error instanceof InvalidArgumentError && message.test(error.message),
  )
}

test('a variable whose name no message has room for is refused by its name, counted in bytes', () => {
  assert.doesNotThrow(() => resolveTaskOptions({ runtimeEnv: { envVars: { ['漢'.repeat(341)]: 'x' } } }))
  refuses({ ['x'.repeat(1025)]: '1' }, /^runtimeEnv\.envVars has a variable "x{61}…" of 1025 bytes; .* 1 to 1024 bytes/)
  refuses({ ['漢'.repeat(342)]: '1' }, /of 1026 bytes/)
})

test('a variable that no process can have is refused', () => {
  refuses({ '': '1' }, /a variable "" of 0 bytes/)
  refuses({ 'A=B': '1' }, /a variable "A=B" .* no = or zero byte/)
  refuses({ 'A\0': '1' }, /no = or zero byte/)
  refuses({ A: 'x\0y' }, /^runtimeEnv\.envVars\.A must be a text without a zero byte/)
})

test('an option that every object seems to have is refused', () => {
  assert.throws(() => resolveTaskOptions({ constructor: Object } as never), /has no option "constructor"/)
  assert.throws(() => resolveTaskOptions({ toString: () => '' } as never), /has no option "toString"/)
  const { terms } = resolveTaskOptions({ resources: { constructor: 1 }, numCpus: 0 })
  assert.deepEqual({ ...terms.resources }, { CPU: 0, constructor: 1 })
})

test('a selector that no message has room for is refused', () => {
  const values = Array.from({ length: 64 }, (_, i) => `${i}`.padEnd(63, 'x'))
  const labelsOf = (count: number): Record<string, { in: string[] }> =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`label${i}`, { in: values }]))
  assert.doesNotThrow(() => resolveTaskOptions({ schedulingStrategy: { labels: labelsOf(1) } }))
  assert.throws(
    () => resolveTaskOptions({ schedulingStrategy: { labels: labelsOf(3) } }),
    /^InvalidArgumentError: schedulingStrategy\.labels takes \d+ bytes to describe; at most 8192 are possible/,
  )
})
