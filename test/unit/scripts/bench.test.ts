import assert from 'node:assert/strict'
import { test } from 'node:test'
import { selfTimes } from '../../../scripts/bench/profiler.ts'
import { median, type BenchRun, type Result } from '../../../scripts/bench/result.ts'
import { ratioTo, table } from '../../../scripts/bench/table.ts'

const rate = (value: number): Result => ({ name: 'tasks', unit: 'per s', values: [value] })
const time = (value: number): Result => ({ name: 'init', unit: 'ms', values: [value] })

const earlierRun = (results: Result[]): BenchRun => ({ machine: {}, rounds: 1, results })

test('the median is the middle one, or the mean of the two in the middle', () => {
  assert.equal(median([3, 1, 2]), 2)
  assert.equal(median([4, 1, 2, 3]), 2.5)
  assert.ok(Number.isNaN(median([])))
})

test('above 1 is better, for rates and for times', () => {
  assert.equal(ratioTo(rate(100), rate(200)), 2)
  assert.equal(ratioTo(time(100), time(50)), 2)
})

test('a table compares with an earlier run what both have', () => {
  const lines = table([rate(1234), { ...time(5.678), values: [5.678, 7] }], earlierRun([rate(100)])).split('\n')
  assert.match(lines[0] ?? '', /^tasks +1,234 per s +× 12\.34 too few rounds to tell \(was 100\)$/)
  assert.match(lines[1] ?? '', /^init +6\.34 ms +\(5\.68 … 7\.00\)$/)
})

test('only rounds that do not overlap are better or worse', () => {
  const compare = (before: number[], now: number[], unit: 'per s' | 'ms'): string =>
    table([{ name: 'x', unit, values: now }], earlierRun([{ name: 'x', unit, values: before }]))
  assert.match(compare([100, 120], [119, 200], 'per s'), /within the spread/)
  assert.match(compare([100, 120], [130, 200], 'per s'), / better /)
  assert.match(compare([100, 120], [130, 200], 'ms'), / worse /)
  assert.match(compare([100, 120], [50, 60], 'per s'), / worse /)
})

test('self times are shares of the samples, the busiest first', () => {
  const callFrame = { scriptId: '1', url: 'file:///a/b/c.ts', lineNumber: 4, columnNumber: 0 }
  const found = selfTimes({
    nodes: [
      { id: 1, callFrame: { ...callFrame, functionName: 'encode' } },
      { id: 2, callFrame: { ...callFrame, functionName: '', url: '' } },
    ],
    samples: [1, 1, 2, 1],
    startTime: 0,
    endTime: 1,
  })
  assert.deepEqual(found, [
    { where: 'encode b/c.ts:5', share: 0.75 },
    { where: '(anonymous)', share: 0.25 },
  ])
})
