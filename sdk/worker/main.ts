import { flushCompileCache } from 'node:module'
import { NodeConnection } from '../client/node-connection.ts'
import { setOwnGroup } from '../api/own-group.ts'
import { setTaskContext } from '../api/task-context.ts'
import { setCurrentRuntime } from '../runtime/current-runtime.ts'
import { Runtime } from '../runtime/runtime.ts'
import { sdkUrl } from '../sdk-url.ts'
import { setCurrentActor } from '../api/actor-context.ts'
import { nodeOf } from '../../protocols/ids.ts'
import type { MessageBody, MessageHandlers } from '../../protocols/messages.ts'
import { ActorHost } from './actor-host.ts'
import { Executor } from './executor.ts'
import { taskStorage } from './running-task.ts'
import { watchRejections } from './stray-rejections.ts'
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
    job: () => taskStorage.getStore()?.job ?? connection.welcome.clientId,
    depth: () => (taskStorage.getStore()?.depth ?? 0) + 1,
    currentTask: () => taskStorage.getStore(),
    beginWait: () => {
      const task = taskStorage.getStore()
      return actor === undefined || task === undefined ? executor.beginWait() : actor.beginWait(task)
    },
    interruptible: (promise) => taskStorage.getStore()?.interruptible(promise) ?? promise,
    // Nothing that runs here is of use to anybody without the node.
    onNodeGone: () => process.exit(1),
    sendResults: () => {
      executor.send()
      actor?.send()
    },
  })
  setCurrentRuntime(runtime)
  let actor: ActorHost | undefined
  setTaskContext(() => taskStorage.getStore())
  setOwnGroup(() => taskStorage.getStore()?.ownGroup)
  const output = new WorkerOutput(process.env['SHOAL_OUTPUT_TOKEN'] ?? '', () => {
    const task = taskStorage.getStore()
    return task === undefined ? undefined : { name: task.taskName, to: task.job, task: task.id }
  })
  output.install()
  const executor = new Executor(connection, runtime, () => output.forget())
  // What a task has left behind is not charged to those that come after it, as far as possible.
  watchRejections((end) => executor.afterRunning(end))
  process.on('uncaughtExceptionMonitor', () => {
    if (actor === undefined) executor.giveBack()
  })
  const become = (start: MessageBody<'actorStart'>): void => {
    const { lease } = executor
    if (lease?.leaseId !== start.leaseId || actor !== undefined) return
    actor = new ActorHost({ connection, runtime, output, lease, start })
    setCurrentActor(actor)
    void actor.construct()
  }
  const common = runtime.handlers()
  const handlers: MessageHandlers = {
    ...common,
    ...executor.handlers(),
    clientGone: (body) => {
      common.clientGone?.(body)
      actor?.callersGone((caller) => caller === body.client)
    },
    nodeGone: (body) => {
      common.nodeGone?.(body)
      actor?.callersGone((caller) => nodeOf(caller) === body.node)
    },
    actorCode: ({ functions }) => runtime.functions.table.give(functions),
    actorStart: become,
    actorPush: (body) => actor?.onPush(body),
    actorMeet: (body) => actor?.onMeet(body),
    actorEnd: () => actor?.exit('no handle of it was left', false),
    actorConsumed: (body) => actor?.onConsumed(body),
    actorCancel: (body) => actor?.onCancel(body),
  }
  connection.start(handlers, {
    onClosed: (error) => runtime.onClosed(error),
    afterMessage: () => executor.tellNeeded(),
  })
  // A worker is killed in the end, so what it compiled is kept now, for those after it.
  setImmediate(flushCompileCache)
}

await main()
