import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { findTarget, formatLine } from '../../../node/cli/logs.ts'
import { UsageError } from '../../../node/cli/usage-error.ts'

const nodes = [
  { id: '3fa1000000000001', name: 'desk' },
  { id: '3fa1000000000002', name: 'lap' },
  { id: '1234567000000003', name: 'lab7' },
]

describe('whose output is meant', () => {
  test('a node by name or id, a worker by pid, else a task', () => {
    assert.deepEqual(findTarget('desk', nodes), { kind: 'node', ...nodes[0] })
    assert.deepEqual(findTarget('3fa1000000000002', nodes), { kind: 'node', ...nodes[1] })
    assert.deepEqual(findTarget('1234567000000003', nodes), { kind: 'node', ...nodes[2] })
    assert.deepEqual(findTarget('1234567', nodes), { kind: 'output', pid: 1_234_567 })
    assert.deepEqual(findTarget('train', nodes), { kind: 'output', task: 'train' })
    assert.deepEqual(findTarget('3fa1', nodes), { kind: 'output', task: '3fa1' })
    assert.throws(() => findTarget('3fa100000', nodes), UsageError)
  })

  test('lines are shown as drivers see them', () => {
    const line = {
      atMs: Date.UTC(2026, 0, 2),
      pid: 7,
      name: 'train',
      task: '',
      isError: false,
      text: 'a\u001b[2Jb',
      nodeName: 'desk',
    }
    assert.equal(formatLine(line, { isMany: false, withTime: false }), '(train pid=7) a?[2Jb')
    assert.equal(
      formatLine({ ...line, name: '' }, { isMany: true, withTime: true }),
      '2026-01-02T00:00:00.000Z (pid=7 on desk) a?[2Jb',
    )
  })
})
