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
  let executor: Executor | undefined
  const runtime = new Runtime(connection, {
    kind: 'worker',
    sdkUrl,
    job: () => executor?.job ?? connection.welcome.clientId,
    depth: () => executor?.depth ?? 1,
    currentTask: () => executor?.running?.spec.sequence,
    beginWait: () => executor?.beginWait() ?? (() => undefined),
    interrupted: () => executor?.running?.cancelled,
    // Nothing that runs here is of use to anybody without the node.
    onNodeGone: () => process.exit(1),
  })
  executor = new Executor(connection, runtime)
  const running = executor
  setCurrentRuntime(runtime)
  setTaskContext(() => running.running)
  new WorkerOutput(() => {
    const task = running.running
    return task === undefined ? undefined : { name: task.taskName, to: running.job }
  }).install()
  connection.start({ ...runtime.handlers(), ...executor.handlers() }, (error) => runtime.onClosed(error))
  // A worker is killed in the end, so what it compiled is kept now, for those after it.
  setImmediate(flushCompileCache)
}

await main()
