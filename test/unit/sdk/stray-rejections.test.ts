import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, test } from 'node:test'

/** Runs this in a process that watches its rejections, or in one that does not. */
function run(code: string, isWorker = true): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const { href: worker } = new URL('../../../sdk/worker/', import.meta.url)
  const program = `
import { RunningTask } from '${worker}running-task.ts'
import { watchRejections } from '${worker}stray-rejections.ts'
const task = new RunningTask({ name: 'train', sequence: 1 }, { owner: '', gpuIds: [], job: '', depth: 1 }, [], '')
const never = new Promise(() => undefined)
if (${isWorker}) watchRejections(() => false)
setTimeout(() => console.log('alive'), 20)
${code}
`
  const { promise, resolve } = Promise.withResolvers<{ exitCode: number; stdout: string; stderr: string }>()
  execFile(process.execPath, ['--input-type=module', '-e', program], (error, stdout, stderr) => {
    resolve({ exitCode: error === null ? 0 : Number(error.code), stdout, stderr })
  })
  return promise
}

describe('a rejection that nobody handles', () => {
  test('does not end the process when a cancelled task has left it behind', async () => {
    const { exitCode, stdout, stderr } = await run(`
for (const wait of [task.interruptible(never), task.interruptible(never)]) void wait.then(() => undefined)
import { setTimeout as sleep } from 'node:timers/promises'
void sleep(1e6, undefined, { signal: task.signal })
task.cancel()
`)
    assert.deepEqual([exitCode, stdout, stderr], [0, 'alive\n', ''])
  })

  test('does what it does in any program when it is another one', async () => {
    for (const reason of [`new RangeError('mine')`, `'no Error'`, `new Error('x', { cause: new Error('y') })`]) {
      const code = `process.on('uncaughtExceptionMonitor', (_, origin) => console.log(origin)); Promise.reject(${reason})`
      const [usual, worker] = await Promise.all([run(code, false), run(code)])
      assert.deepEqual([usual.exitCode, usual.stdout], [1, 'unhandledRejection\n'])
      const withoutPlaces = (text: string): string => text.replace(/^ +at .*\n/gm, '')
      assert.equal(withoutPlaces(worker.stderr), withoutPlaces(usual.stderr))
      assert.deepEqual([worker.exitCode, worker.stdout], [usual.exitCode, usual.stdout])
    }
  })

  test('is left to the listeners that the user’s code has', async () => {
    const { exitCode, stdout } = await run(`
process.on('uncaughtException', (error) => console.log('uncaught', error.message))
Promise.reject(new Error('first'))
setTimeout(() => {
  process.on('unhandledRejection', (reason) => console.log('unhandled', reason.message))
  Promise.reject(new Error('second'))
  void task.interruptible(never)
  void task.interruptible(never)
  task.cancel()
}, 5)
`)
    assert.equal(exitCode, 0)
    const cancelled = 'unhandled task train was cancelled\n'
    assert.equal(stdout, `uncaught first\nunhandled second\n${cancelled}${cancelled}alive\n`)
  })

  test('ends the process later when that is said', async () => {
    const { exitCode, stdout, stderr } = await run(
      `
watchRejections((end) => Boolean(setTimeout(end, 40)))
Promise.reject(new RangeError('mine'))
`,
      false,
    )
    assert.deepEqual([exitCode, stdout], [1, 'alive\n'])
    assert.match(stderr, /^RangeError: mine$/m)
  })
})
