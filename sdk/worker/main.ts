import { flushCompileCache } from 'node:module'
import { NodeConnection } from '../client/node-connection.ts'
import { setTaskContext } from '../api/task-context.ts'
import { setCurrentRuntime } from '../runtime/current-runtime.ts'
import { Runtime } from '../runtime/runtime.ts'
import { sdkUrl } from '../sdk-url.ts'
import { Executor } from './executor.ts'
import { WorkerOutput } from './worker-output.ts'

/**
 * A worker process: connects to the node that started it, says who it is, and runs what it is given until the node lets go.
 */
async function main(): Promise<void> {
  process.setSourceMapsEnabled(true)
  const socketPath = process.env['SHOAL_SOCKET'] ?? ''
  const workerId = Number(process.env['SHOAL_WORKER_ID'])
  const connection = await NodeConnection.connect({ socketPath, role: 'worker', workerId })
  const runtime = new Runtime(connection, {
    kind: 'worker',
    sdkUrl,
    job: () => executor.job,
    depth: () => executor.depth,
    currentTask: () => executor.running?.spec.sequence,
    beginWait: () => executor.beginWait(),
    interrupted: () => executor.running?.cancelled,
    // Nothing that runs here is of use to anybody without the node.
    onNodeGone: () => process.exit(1),
  })
  const executor = new Executor(connection, runtime)
  setCurrentRuntime(runtime)
  setTaskContext(() => executor.running)
  new WorkerOutput(() => {
    const task = executor.running
    return task === undefined ? undefined : { name: task.taskName, to: executor.job }
  }).install()
  connection.start({ ...runtime.handlers(), ...executor.handlers() }, (error) => runtime.onClosed(error))
  // A worker is killed in the end, so what it compiled is kept now, for those after it.
  setImmediate(flushCompileCache)
}

await main()
