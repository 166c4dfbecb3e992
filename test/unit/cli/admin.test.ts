import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { adminValue, checkAdminArgs, isAdminCall } from '../../../protocols/admin.ts'
import {
  InvalidArgumentError,
  MembershipError,
  NotSupportedError,
  ProtocolError,
  ShoalError,
} from '../../../protocols/errors.ts'

const node = '0123456789abcdef'

describe('arguments of calls', () => {
  test('what is right goes through, and nothing besides', () => {
    assert.deepEqual(checkAdminArgs('nodes', { more: 1 }), {})
    const token = { role: 'worker', ttlMs: 1, uses: 1000 } as const
    assert.deepEqual(checkAdminArgs('tokenCreate', { ...token, key: 'x' }), token)
    assert.deepEqual(checkAdminArgs('tokenRevoke', { id: '3fa1' }), { id: '3fa1' })
    assert.deepEqual(checkAdminArgs('memberRevoke', { node }), { node })
    assert.deepEqual(checkAdminArgs('memberRevoke', { node, reason: 'gone' }), { node, reason: 'gone' })
    assert.deepEqual(checkAdminArgs('leave', {}), { force: false })
    assert.deepEqual(checkAdminArgs('leave', { force: 'yes' }), { force: false })
    assert.deepEqual(checkAdminArgs('explain', {}), { task: '' })
    assert.deepEqual(checkAdminArgs('tasks', { limit: 1000 }), { limit: 1000 })
    assert.deepEqual(checkAdminArgs('events', { limit: 1 }), { from: {}, limit: 1 })
    const from = { [node]: 5 }
    assert.deepEqual(checkAdminArgs('taskRuns', { from, limit: 1 }), { from, limit: 1 })
    assert.deepEqual(checkAdminArgs('output', { from, limit: 1, pid: 3, more: 1 }), {
      from,
      limit: 1,
      pid: 3,
      isTail: false,
    })
    const log = { node, from: 0, limit: 1, isTail: true }
    assert.deepEqual(checkAdminArgs('nodeLog', log), log)
    assert.deepEqual(checkAdminArgs('drain', { node, deadlineMs: 1 }), {
      node,
      deadlineMs: 1,
      force: false,
      undo: false,
    })
  })

  const wrong: [Parameters<typeof checkAdminArgs>[0], unknown, RegExp][] = [
    ['nodes', null, /nodes: the arguments must be one object/],
    ['nodes', [], /nodes: the arguments must be one object/],
    [
      'tokenCreate',
      { role: 'root', ttlMs: 1, uses: 1 },
      /tokenCreate: role must be one of worker, submitter, admin; got "root"/,
    ],
    ['tokenCreate', { role: 'worker', ttlMs: 0, uses: 1 }, /ttlMs must be a whole number from 1 to/],
    ['tokenCreate', { role: 'worker', ttlMs: 1e15, uses: 1 }, /ttlMs must be a whole number/],
    ['tokenCreate', { role: 'worker', ttlMs: 1, uses: 1.5 }, /uses must be a whole number from 1 to 1000; got 1.5/],
    ['tokenCreate', { role: 'worker', ttlMs: 1 }, /uses must be a whole number from 1 to 1000; got undefined/],
    ['tokenRevoke', { id: '../x' }, /tokenRevoke: id must be a text like/],
    ['tokenRevoke', { id: 'a'.repeat(65) }, /id must be/],
    ['memberRevoke', { node: node.slice(1) }, /memberRevoke: node must be a text like/],
    ['memberRevoke', { node, reason: 'x'.repeat(1025) }, /reason must be a text of at most 1024 characters/],
    ['tasks', { limit: 1001 }, /tasks: limit must be a whole number from 1 to 1000; got 1001/],
    ['events', { from: 5, limit: 1 }, /events: from must be an object/],
    ['events', { from: { x: 1 }, limit: 1 }, /from must be a text like/],
    ['taskRuns', { from: { [node]: -1 }, limit: 1 }, /from must have whole numbers; got -1/],
    ['output', { limit: 1, pid: 0 }, /pid must be a whole number/],
    ['output', { limit: 1, task: 'x'.repeat(1025) }, /task must be a text of at most 1024 characters/],
    ['nodeLog', { node, from: -1, limit: 1 }, /from must be a whole number/],
    ['drain', { node: 'desk' }, /drain: node must be a text like/],
    ['drain', { node, deadlineMs: 0.5 }, /deadlineMs must be a whole number/],
    ['explain', { task: 5 }, /explain: task must be a text of at most 1024 characters; got 5/],
  ]
  for (const [name, args, message] of wrong) {
    test(`refused: ${name} ${JSON.stringify(args).slice(0, 60)}`, () => {
      assert.throws(
        () => checkAdminArgs(name, args),
        (error) => error instanceof InvalidArgumentError && message.test(error.message),
      )
    })
  }

  test('only names of the table are calls', () => {
    assert.deepEqual(['nodes', 'leave', 'toString', '__proto__', ''].map(isAdminCall), [
      true,
      true,
      false,
      false,
      false,
    ])
  })
})

describe('answers', () => {
  test('a value, or the error that the node tells', () => {
    assert.deepEqual(adminValue('nodes', { ok: true, value: [] }), [])
    assert.throws(
      () => adminValue('nodes', { ok: false, error: { code: 'MEMBERSHIP', message: 'no mesh', retryable: true } }),
      (error) =>
        error instanceof ShoalError && error.code === 'MEMBERSHIP' && error.message === 'no mesh' && error.retryable,
    )
  })

  test('an error is of its class', () => {
    const classes = {
      NOT_SUPPORTED: NotSupportedError,
      INVALID_ARGUMENT: InvalidArgumentError,
      MEMBERSHIP: MembershipError,
    }
    for (const [code, type] of Object.entries(classes)) {
      const error = { code, message: 'no', retryable: false }
      assert.throws(
        () => adminValue('nodes', { ok: false, error }),
        (thrown) => thrown instanceof type && thrown.code === code,
      )
    }
  })

  test('anything else is a ProtocolError', () => {
    for (const reply of [undefined, null, 5, {}, { ok: true }, { ok: false }, { ok: false, error: { code: 5 } }]) {
      assert.throws(() => adminValue('nodes', reply), ProtocolError)
    }
  })
})
