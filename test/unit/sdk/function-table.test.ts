import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { FunctionTable, type AnyFunction } from '../../../sdk/functions/function-table.ts'
import { inlineValue } from '../../support/task-records.ts'

/** As many as a table keeps. */
const functionsMax = 10_000

function tableFor(t: TestContext, encodeManifest: () => void = () => undefined): FunctionTable {
  let sequence = 1
  const table = new FunctionTable({
    clientId: 'aa'.repeat(16),
    takeSequence: () => sequence++,
    localFunctionOf: () => undefined,
    isHandle: () => false,
    encodeManifest: () => {
      encodeManifest()
      return { wire: inlineValue(1), holds: undefined }
    },
    putBlob: () => undefined,
    request: () => Promise.reject(new Error('nobody has it')),
    instantiate: () => Promise.reject(new Error('nobody has it')),
    redescribe: () => Promise.reject(new Error('nobody has it')),
  })
  t.after(() => table.close())
  return table
}

/** A function of its own, each time. */
function made(x: number): AnyFunction {
  return () => x
}

describe('the functions of a process', () => {
  test('a task that has not run keeps its function, however many come after it', async (t) => {
    const table = tableFor(t)
    const record = table.recordOf(made(0), 'made')
    for (let i = 1; i <= functionsMax; i++) table.recordOf(made(i), 'made')
    assert.equal(table.foreignRecord(record.id, 'made'), record)
    assert.equal((await table.serve(record.id)).value.kind, 'inline')
    assert.equal((await table.load(record.id))(), 0)
    await assert.rejects(table.serve(`${'aa'.repeat(16)}${'ff'.repeat(6)}`), /is not known to the process/)
  })

  test('a function that could not be got ready is tried again with the next call', async (t) => {
    let failures = 1
    const table = tableFor(t, () => {
      if (failures-- > 0) throw new Error('no room')
    })
    const fn = made(1)
    const { id } = table.ship(fn, 'made')
    await assert.rejects(table.serve(id), /no room/)
    await assert.rejects(table.serve(id), /no room/)
    table.ship(fn, 'made')
    assert.equal((await table.serve(id)).value.kind, 'inline')
  })
})
