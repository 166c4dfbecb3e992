import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TaskReport } from '../../../protocols/admin.ts'
import { runningNow, traceOf, type TraceEvent } from '../../../node/cli/trace.ts'

const node = '0000000000000001'
const owner = 'a'.repeat(32)

function run(startMs: number, endMs: number, changes: Partial<TaskReport> = {}): TaskReport {
  const id = owner + '0'.repeat(12)
  const busyMs = endMs - startMs
  return {
    id,
    name: 'train',
    state: 'finished',
    job: owner,
    attempt: 0,
    node,
    pid: 7,
    startMs,
    endMs,
    busyMs,
    count: 1,
    ...changes,
  }
}

type Slice = Extract<TraceEvent, { ph: 'X' }>

function slices(events: readonly TraceEvent[]): Slice[] {
  return events.filter((event) => event.ph === 'X')
}

/** What every reader of the format relies on. */
function assertWellFormed(events: readonly TraceEvent[]): void {
  const named = new Set<string>()
  for (const event of events) {
    assert.ok(Number.isSafeInteger(event.pid) && event.pid > 0)
    assert.ok(Number.isSafeInteger(event.tid) && event.tid >= 0)
    assert.ok(event.name !== '')
    if (event.ph === 'M') {
      named.add(`${event.name} ${event.pid} ${event.tid}`)
      continue
    }
    assert.ok(Number.isSafeInteger(event.ts) && event.ts >= 0)
    assert.ok(named.has(`thread_name ${event.pid} ${event.tid}`), 'its thread has a name')
    if (event.ph === 'i') assert.ok(event.s === 'p' || event.s === 't')
    else assert.ok(Number.isSafeInteger(event.dur) && event.dur >= 0)
  }
  // Slices of one thread follow each other, or one encloses the other.
  const byThread = Map.groupBy(slices(events), ({ pid, tid }) => `${pid} ${tid}`)
  for (const thread of byThread.values()) {
    for (const a of thread) {
      for (const b of thread) {
        const isApart = a.ts + a.dur <= b.ts || b.ts + b.dur <= a.ts
        const isInside =
          (a.ts <= b.ts && b.ts + b.dur <= a.ts + a.dur) || (b.ts <= a.ts && a.ts + a.dur <= b.ts + b.dur)
        assert.ok(isApart || isInside, `${JSON.stringify(a)} and ${JSON.stringify(b)}`)
      }
    }
  }
}

describe('a trace', () => {
  test('has a process for each node, a thread for each worker and a slice for each task', () => {
    const { traceEvents, otherData } = traceOf([
      {
        node,
        name: 'desk',
        runs: [run(1000, 1010), run(1010, 1020.5, { pid: 8, state: 'failed', code: 'TypeError', attempt: 2 })],
        events: [{ atMs: 999, kind: 'worker', level: 'error', text: 'worker 3 ended', pid: 9 }],
      },
      { node: '0000000000000002', name: 'lap', runs: [run(1001, 1002, { node: '0000000000000002' })], events: [] },
    ])
    assertWellFormed(traceEvents)
    assert.equal(otherData.beganAt, new Date(999).toISOString())
    const names = traceEvents.flatMap((event) =>
      event.ph === 'M' && 'name' in event.args ? [`${event.pid} ${event.tid} ${event.args.name}`] : [],
    )
    assert.deepEqual(names, [
      '1 0 node desk (0000000000000001)',
      '1 0 node',
      '1 1 worker 7',
      '1 2 worker 8',
      '2 0 node lap (0000000000000002)',
      '2 0 node',
      '2 1 worker 7',
    ])
    assert.deepEqual(
      slices(traceEvents).map(({ pid, tid, ts, dur, args }) => [pid, tid, ts, dur, args['status'], args['error']]),
      [
        [1, 1, 1000, 10_000, 'finished', undefined],
        [1, 2, 11_000, 10_500, 'failed', 'TypeError'],
        [2, 1, 2000, 1000, 'finished', undefined],
      ],
    )
    assert.deepEqual(slices(traceEvents)[1]?.args, {
      id: owner + '0'.repeat(12),
      owner,
      job: owner,
      attempt: 2,
      status: 'failed',
      error: 'TypeError',
      busyMs: 10.5,
    })
    const [instant] = traceEvents.filter((event) => event.ph === 'i')
    assert.deepEqual([instant?.name, instant?.tid, instant?.ts], ['worker 3 ended', 0, 0])
  })

  test('tasks of one worker that overlap are on lanes of their own', () => {
    const runs = [run(0, 10), run(5, 15), run(6, 9), run(10, 12), run(15, 15), run(2, 20), run(0, 10)]
    const { traceEvents } = traceOf([{ node, name: 'desk', runs, events: [] }])
    assertWellFormed(traceEvents)
    assert.equal(slices(traceEvents).length, runs.length)
    assert.ok(traceEvents.some(({ ph, args }) => ph === 'M' && 'name' in args && args.name === 'worker 7 (2)'))
  })

  test('many short tasks are one slice, and what has not run is an instant', () => {
    const lost = run(0, 30, { state: 'failed', code: 'WORKER_CRASHED', busyMs: 0, pid: 12 })
    const { pid: _, node: __, ...neverRun } = run(0, 40, { state: 'cancelled', busyMs: 0 })
    const runs = [run(0, 10, { count: 500 }), lost, neverRun]
    const { traceEvents } = traceOf([{ node, name: 'desk', runs, events: [] }])
    assertWellFormed(traceEvents)
    assert.deepEqual(
      traceEvents.filter(({ ph }) => ph !== 'M').map(({ ph, name }) => [ph, name]),
      [
        ['X', 'train × 500'],
        ['i', 'train: WORKER_CRASHED'],
        ['i', 'train: cancelled'],
      ],
    )
  })

  test('what still runs is a slice until now', () => {
    const live = { id: owner + '0'.repeat(12), name: 'hold', job: owner, attempt: 0, forMs: 30 }
    const value = {
      live: [
        { ...live, state: 'running', node, pid: 7 },
        { ...live, state: 'queued', node, pid: 7 },
        { ...live, state: 'running', node },
        { ...live, state: 'waiting' },
      ],
      more: 0,
      ended: [],
      left: 0,
      drivers: [],
      silent: [],
    } as const
    const running = runningNow([{ node: '2', name: 'lap', value }], 100)
    const { traceEvents } = traceOf([
      { node, name: 'desk', runs: [run(60, 70), ...(running.get(node) ?? [])], events: [] },
    ])
    assertWellFormed(traceEvents)
    assert.deepEqual(
      slices(traceEvents).map(({ name, ts, dur, args }) => [name, ts, dur, args['status']]),
      [
        ['train', 0, 10_000, 'finished'],
        ['hold', 10_000, 30_000, 'running'],
      ],
    )
  })

  test('nothing is a trace, too', () => {
    assert.deepEqual(traceOf([]).traceEvents, [])
  })
})
