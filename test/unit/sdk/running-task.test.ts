import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { TaskSpec } from '../../../protocols/task-messages.ts'
import { RunningTask } from '../../../sdk/worker/running-task.ts'
import { until } from '../../support/daemon-process.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function running(): RunningTask {
  const spec: Partial<TaskSpec> = { name: 'train', sequence: 1, attempt: 0 }
  return new RunningTask(spec as TaskSpec, { owner: '', gpuIds: [], job: '', depth: 1 }, [], '')
}

describe('what a task waits for', () => {
  test('is what the promise gives', async () => {
    const task = running()
    assert.equal(await task.interruptible(Promise.resolve(3)), 3)
    await assert.rejects(task.interruptible(Promise.reject(new Error('no'))), /no/)
  })

  test('ends when the task is cancelled, and does not begin afterwards', async () => {
    const task = running()
    const waits = [1, 2].map(() => task.interruptible(new Promise<void>(() => undefined)))
    task.cancel()
    for (const wait of [...waits, task.interruptible(new Promise<void>(() => undefined))])
      await assert.rejects(wait, { name: 'TaskCancelledError' })
  })

  test('is kept by nothing when the wait is over, however long the task goes on', async () => {
    const task = running()
    const weak = new WeakRef(await task.interruptible(Promise.resolve({ large: 'value' })))
    await until('the value is collected', () => {
      collect()
      return weak.deref() === undefined
    })
    task.cancel()
  })

  test('goes on when its caller is gone, unless it looks at its signal', async () => {
    for (const isEarly of [true, false]) {
      const task = running()
      const { promise, resolve } = Promise.withResolvers<number>()
      const wait = task.interruptible(promise)
      if (isEarly) assert.equal(task.signal.aborted, false)
      task.abandon()
      assert.ok(task.signal.aborted && !task.isCancelled)
      assert.match(String(task.signal.reason), /who has called train is gone/)
      resolve(3)
      assert.equal(await wait, 3)
    }
  })
})
