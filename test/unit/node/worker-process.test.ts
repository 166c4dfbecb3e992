import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { WorkerProcess, type ProcessExit } from '../../../node/workers/worker-process.ts'

/** An error of the system as `process.kill` throws it. */
function systemError(code: string): Error {
  return Object.assign(new Error(`kill ${code}`), { code })
}

describe('a worker process that ends', () => {
  for (const code of ['EPERM', 'ESRCH']) {
    test(`is done with when ending its process group fails with ${code}`, async () => {
      const logged: string[] = []
      const killed: number[] = []
      const { promise, resolve } = Promise.withResolvers<ProcessExit>()
      const worker = new WorkerProcess({
        start: { workerId: 7, envKey: '', envVars: {}, gpuIds: [] },
        // There is no such program: it ends at once.
        entry: `${import.meta.dirname}/no-such-program.ts`,
        socketPath: '',
        compileCacheDirectory: undefined,
        startMs: 60_000,
        gpuVendor: undefined,
        log: (text) => logged.push(text),
        killGroup: (pid) => {
          killed.push(pid)
          throw systemError(code)
        },
        onExit: (_, exit) => resolve(exit),
      })
      worker.child.stdout?.resume()
      const { kind } = await promise
      assert.equal(kind, 'crash')
      worker.kill('it is in the way')
      assert.deepEqual(killed, [worker.pid, worker.pid])
      assert.equal(logged.length, code === 'EPERM' ? 1 : 0)
    })
  }
})
