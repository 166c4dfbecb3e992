import { tmpdir, userInfo } from 'node:os'
import { existsSync } from 'node:fs'
import { InvalidArgumentError, NodeUnavailableError, NotInitializedError } from '../../protocols/errors.ts'
import { placesOf } from '../../protocols/places.ts'
import { EmbeddedNode } from '../client/embedded-node.ts'
import { NodeConnection } from '../client/node-connection.ts'
import { LogPrinter } from '../output/log-printer.ts'
import { hasRuntime, setCurrentRuntime } from '../runtime/current-runtime.ts'
import { Runtime } from '../runtime/runtime.ts'
import { sdkUrl } from '../sdk-url.ts'
import { amount, boolean, checkOptions, text } from './task-options.ts'

export interface InitOptions {
  /** The socket of the node to attach to. @default the node that `shoal up` started here */
  address?: string
  /** True: always start a node of this program's own. False: never. @default start one when none runs */
  embedded?: boolean
  /** CPUs that an embedded node offers. @default what the machine has */
  numCpus?: number
  /** GPUs that an embedded node offers. @default what the machine has */
  numGpus?: number
  /** Other resources that an embedded node offers. @default none */
  resources?: Readonly<Record<string, number>>
  /** Memory that an embedded node offers, in bytes. @default 70 % of the machine's */
  memoryBytes?: number
  /**
   * A token of a mesh, from `shoal up` or `shoal token create`: the program joins that mesh for as long as it runs, to
   * submit work, and offers nothing itself. It takes one use of the token.
   */
  join?: string
  /** Show the console output of tasks here. @default true */
  logToDriver?: boolean
}

/** What a program is attached to. `await using shoal = await init()` shuts down at the end of the block. */
export interface ShoalContext extends AsyncDisposable {
  /** The node's socket. */
  readonly address: string
  /** True when the node was started for this program and ends with it. */
  readonly isEmbedded: boolean
  readonly nodePid: number
}

const checks = {
  address: text,
  embedded: boolean,
  join: text,
  numCpus: amount,
  numGpus: amount,
  memoryBytes: amount,
  resources: (value: unknown, name: string) => {
    if (typeof value !== 'object' || value === null) throw new InvalidArgumentError(`${name} must be an object`)
    for (const [key, item] of Object.entries(value)) amount(item, `${name}.${key}`)
  },
  logToDriver: boolean,
}

interface Attachment {
  runtime: Runtime
  node: EmbeddedNode | undefined
  printer: LogPrinter
  context: ShoalContext
}

/** How long exit hooks of actors may keep a program from its end. */
const actorsEndMs = 5000

let attachment: Attachment | undefined
let starting: Promise<ShoalContext> | undefined

/**
 * Attaches this program to the node that runs on this machine, or starts one that ends with the program. Must be awaited
 * before the first `.remote()`. A second call, without options, gives the same context.
 *
 * Rejects with NodeUnavailableError when there is no node at `address`, or none could be started; InvalidArgumentError for
 * a wrong option.
 *
 * @example
 * await init({ numCpus: 4 })
 */
export async function init(options: InitOptions = {}): Promise<ShoalContext> {
  checkOptions(options, checks, 'init()')
  if (attachment !== undefined) {
    if (Object.values(options).some((value) => value !== undefined)) {
      throw new InvalidArgumentError(
        'init() was called already, and its options cannot change now: leave them out, or call shutdown() first',
      )
    }
    return attachment.context
  }
  if (hasRuntime())
    throw new InvalidArgumentError('init() is called inside a task, which is attached to its node already')
  starting ??= start(options).finally(() => {
    starting = undefined
  })
  return starting
}

async function start(options: InitOptions): Promise<ShoalContext> {
  const reaching = reachNode(options)
  // What the first call needs is made ready while the node starts. If it cannot be, that call says why.
  import('../shipping/index.ts').then((shipping) => shipping.prewarmShipping()).catch(() => undefined)
  const { node, connection } = await reaching
  const printer = new LogPrinter()
  const runtime = new Runtime(connection, {
    kind: 'driver',
    sdkUrl,
    job: () => connection.welcome.clientId,
    depth: () => 0,
    currentTask: () => undefined,
    beginWait: () => connection.hold(),
    interruptible: (promise) => promise,
    onNodeGone: () => undefined,
  })
  connection.start(
    { ...runtime.handlers(), log: (log) => printer.print(log) },
    { onClosed: (error) => runtime.onClosed(error) },
  )
  connection.unref()
  const context: ShoalContext = {
    address: node?.socketPath ?? addressOf(options),
    isEmbedded: node !== undefined,
    nodePid: connection.welcome.nodePid,
    [Symbol.asyncDispose]: shutdown,
  }
  attachment = { runtime, node, printer, context }
  setCurrentRuntime(runtime)
  process.once('beforeExit', onBeforeExit)
  return context
}

/** A program that ends by itself still sees the last lines that its tasks printed, and leaves nothing behind. */
const onBeforeExit = (): void => void shutdown()

async function reachNode(
  options: InitOptions,
): Promise<{ node: EmbeddedNode | undefined; connection: NodeConnection }> {
  const { embedded, join, logToDriver = true } = options
  const wants = ['numCpus', 'numGpus', 'resources', 'memoryBytes'] as const
  const asked = wants.find((name) => options[name] !== undefined)
  if (join !== undefined) refuseWithJoin(options)
  const running = embedded === true || join !== undefined ? undefined : addressOf(options)
  if (running !== undefined && (options.address !== undefined || embedded === false || existsSync(running))) {
    try {
      const connection = await NodeConnection.connect({ socketPath: running, role: 'driver', wantsLogs: logToDriver })
      if (asked !== undefined) {
        await connection.close()
        throw new InvalidArgumentError(
          `init() option ${asked} is for a node of this program's own, but a node runs here already: leave it out, or add embedded: true`,
          { option: asked },
        )
      }
      return { node: undefined, connection }
    } catch (error) {
      const isStale = error instanceof NodeUnavailableError && options.address === undefined && embedded !== false
      // A socket without a node behind it, left by a crash: as if there were none.
      if (!isStale || !/no node runs there/.test(error.message)) throw error
    }
  }
  const { numCpus: cpus, numGpus: gpus, memoryBytes, resources } = options
  const offer = join === undefined ? { cpus, gpus, memoryBytes, resources } : { cpus: 0, gpus: 0, memoryBytes: 0, join }
  const node = await EmbeddedNode.start(offer)
  try {
    const connection = await NodeConnection.connect({
      socketPath: node.socketPath,
      role: 'driver',
      wantsLogs: logToDriver,
    })
    return { node, connection }
  } catch (error) {
    await node.stop()
    throw error
  }
}

function refuseWithJoin(options: InitOptions): void {
  const names = ['address', 'numCpus', 'numGpus', 'memoryBytes', 'resources'] as const
  const given = options.embedded === false ? 'embedded: false' : names.find((name) => options[name] !== undefined)
  if (given === undefined) return
  throw new InvalidArgumentError(
    `init() takes no ${given} together with join: a program that joins a mesh brings a node of its own, which offers nothing; to offer something, run \`shoal join\` on this machine`,
    { option: given },
  )
}

function addressOf(options: InitOptions): string {
  if (options.address !== undefined) return options.address
  return placesOf({ env: process.env, userId: userInfo().uid, temporaryDirectory: tmpdir() }).socketPath
}

/**
 * Detaches from the node, after the console output of finished tasks has been shown. Tasks that still run are ended; an
 * embedded node is stopped. Without `init()` it does nothing. A program that ends without calling it does the same.
 *
 * @example
 * await shutdown()
 */
export async function shutdown(): Promise<void> {
  const ending = attachment
  if (ending === undefined) return
  attachment = undefined
  setCurrentRuntime(undefined)
  process.removeListener('beforeExit', onBeforeExit)
  const { runtime, node, printer } = ending
  try {
    await runtime.actors.allKept()
    await runtime.actors.endAll(actorsEndMs)
    await runtime.flushLogs().catch(() => undefined)
  } finally {
    printer.close()
    try {
      await runtime.close(new NotInitializedError('the program was detached from its node by shutdown()'))
    } finally {
      await node?.stop()
    }
  }
}

/** True between `init()` and `shutdown()`, and inside tasks. */
export function isInitialized(): boolean {
  return hasRuntime()
}
