import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Survey, type OwnAnswers, type SurveyPeers } from '../../../node/admin/survey.ts'
import type { DrainReport, NodeTasks } from '../../../protocols/admin.ts'
import { InvalidArgumentError, UnreachableError } from '../../../protocols/errors.ts'

const self = { node: '0000000000000001', name: 'desk' }
const lap = { name: 'lap', role: 'admin' } as const
const report: DrainReport = {
  ...self,
  state: 'draining',
  isForced: false,
  running: [],
  toMove: { values: 0, bytes: 0 },
  moved: { values: 0, bytes: 0 },
  stuck: { values: 0, bytes: 0, problem: '' },
  staying: { values: 0, bytes: 0 },
  programs: [],
}
const nothing: NodeTasks = { live: [], more: 0, ended: [], left: 0, drivers: [], silent: [] }

function survey(changes: Partial<OwnAnswers> = {}): Survey {
  const own = {
    actors: () => ({ actors: [], more: 0, silent: [] }),
    tasks: () => nothing,
    taskRuns: ({ limit }: { limit: number }) => ({ runs: [], next: limit, hasMore: false, lost: 0 }),
    events: () => ({ events: [], next: 0, hasMore: false, lost: 0 }),
    output: () => ({ lines: [], next: 0, hasMore: false, isCut: false }),
    nodeLog: () => ({ lines: [], next: 0, hasMore: false, lost: 0 }),
    drain: () => report,
    drainStatus: () => report,
    ...changes,
  }
  return new Survey(self, own)
}

describe('a question to all nodes', () => {
  test('each answers for itself, and why one does not is told', async () => {
    const asked = survey()
    assert.deepEqual(await asked.askAll('tasks', { limit: 5 }), [{ ...self, value: nothing }])
    const other = survey({ tasks: () => ({ ...nothing, more: 7 }) })
    const peers: SurveyPeers = {
      others: () => [
        { node: '2', name: 'lap', isLinked: true },
        { node: '3', name: 'far', isLinked: false },
      ],
      ask: (_, name, args) => other.answer(name, args, lap),
    }
    asked.open(peers)
    assert.deepEqual(await asked.askAll('tasks', { limit: 5 }), [
      { ...self, value: nothing },
      { node: '2', name: 'lap', value: { ...nothing, more: 7 } },
      { node: '3', name: 'far', problem: 'there is no link to it' },
    ])
  })

  test('an error of one node is its answer', async () => {
    const asked = survey()
    const other = survey({
      actors: () => ({ actors: [], more: 0, silent: [] }),
      tasks: () => {
        throw new InvalidArgumentError('not so')
      },
    })
    asked.open({
      others: () => [{ node: '2', name: 'lap', isLinked: true }],
      ask: (_, name, args) => other.answer(name, args, lap),
    })
    const [, answer] = await asked.askAll('tasks', { limit: 5 })
    assert.deepEqual(answer, { node: '2', name: 'lap', problem: 'not so' })
  })

  test('what other nodes ask is checked', async () => {
    const asked = survey()
    for (const [name, args] of [
      ['leave', { force: true }],
      ['tasks', { limit: 0 }],
      ['tasks', null],
      ['taskRuns', { limit: 1, from: { x: 1 } }],
      ['taskRuns', { limit: 1, from: { [self.node]: -1 } }],
    ] as const) {
      const { ok } = await asked.answer(name, args, lap)
      assert.equal(ok, false, name)
    }
    const { ok } = await asked.answer('taskRuns', { limit: 3, from: { [self.node]: 1 } }, lap)
    assert.equal(ok, true)
  })

  test('answers that are too large are left out', async () => {
    const large = { ...nothing, more: 'x'.repeat(3 * 1024 * 1024) as never }
    const asked = survey({ tasks: () => large })
    const reply = await asked.answer('tasks', { limit: 1 }, lap)
    assert.match(JSON.stringify(reply), /the answer has \d+ bytes/)
    const others = Array.from({ length: 4 }, (_, i) => ({ node: `${i}`, name: 'x', isLinked: true }))
    asked.open({ others: () => others, ask: () => Promise.resolve({ ok: true, value: large }) })
    const answers = await asked.askAll('tasks', { limit: 1 })
    assert.deepEqual(
      answers.map(({ value }) => value !== undefined),
      [true, true, true, false, false],
    )
  })
})

describe('a call about one node', () => {
  const node = '0000000000000002'
  const args = { node, force: false, undo: false }

  test('goes to that node', async () => {
    const asked = survey()
    const other = survey({ drain: () => ({ ...report, name: 'lap' }) })
    assert.deepEqual(await asked.call('drain', { ...args, node: self.node }), report)
    await assert.rejects(asked.call('drain', args), /there is no node 0000000000000002/)
    asked.open({
      others: () => [
        { node, name: 'lap', isLinked: true },
        { node: '0000000000000003', name: 'far', isLinked: false },
      ],
      ask: (_, name, given) => other.answer(name, given, { name: 'desk', role: 'admin' }),
    })
    assert.deepEqual(await asked.call('drain', args), { ...report, name: 'lap' })
    await assert.rejects(asked.call('drain', { ...args, node: '0000000000000003' }), UnreachableError)
    await assert.rejects(asked.call('drain', { ...args, node: '../x' }), InvalidArgumentError)
  })

  test('is refused to those who may not', async () => {
    for (const role of ['worker', 'submitter'] as const) {
      const reply = await survey().answer('drain', args, { name: 'lap', role })
      assert.match(JSON.stringify(reply), /MEMBERSHIP.*lap is a member of this mesh as a .*only admins may ask/)
    }
    const output = { from: {}, limit: 1, isTail: true }
    assert.equal((await survey().answer('output', output, { name: 'lap', role: 'submitter' })).ok, true)
    assert.equal((await survey().answer('output', output, { name: 'lap', role: 'worker' })).ok, false)
    const { ok } = await survey().answer('drainStatus', { node }, { name: 'lap', role: 'worker' })
    assert.equal(ok, true)
  })
})
