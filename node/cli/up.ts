import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { styleText } from 'node:util'
import { Command } from 'commander'
import { NodeUnavailableError } from '../../protocols/errors.ts'
import { formatAmount, formatResources, type ResourceSet } from '../../protocols/resources.ts'
import { serveNode, type FailedLine, type ReadyLine } from '../daemon-process.ts'
import { nodePlaces } from '../home/runtime-directory.ts'
import { checkNodeOptions, type NodeOptions } from '../options.ts'
import { parseAmount, parseBytes, parseCount, parseResource } from './parse-options.ts'
import { UsageError } from './usage-error.ts'

interface UpOptions {
  cpus?: number
  gpus?: number
  memory?: number
  resource?: Record<string, number>
  store?: number
  workersMax?: number
  detach?: boolean
  json?: boolean
}

const examples = `
Examples:
  shoal up                                  what the machine has, in the foreground
  shoal up --detach                         in the background; ends with \`shoal down\`
  shoal up --cpus 4 --gpus 1 --resource tpu=2
  shoal up --memory 8GiB --store 4GiB`

export function upCommand(): Command {
  return new Command('up')
    .summary('start the node of this machine')
    .description('Starts the node of this machine, in the foreground. What is not given is detected.')
    .option('--cpus <number>', 'CPUs to offer to tasks', parseAmount('--cpus', 'a number of CPUs'))
    .option(
      '--gpus <count>',
      'GPUs to offer: devices 0 to count - 1',
      parseCount('--gpus', 'a whole number of GPUs', 0),
    )
    .option('--memory <size>', 'memory to offer to tasks, such as 4GiB', parseBytes('--memory'))
    .option('--resource <name=amount>', 'a resource with a name of your own; may be repeated', parseResource)
    .option('--store <size>', 'size of the object store', parseBytes('--store'))
    .option('--workers-max <count>', 'worker processes at most', parseCount('--workers-max', 'a whole number', 1))
    .option('-d, --detach', 'return when the node is ready and leave it running')
    .option('--json', 'print one line of JSON when the node is ready')
    .addHelpText('after', examples)
    .action(up)
}

async function up(options: UpOptions): Promise<void> {
  const { cpus, gpus, memory, resource, store, workersMax } = options
  const nodeOptions: NodeOptions = {
    cpus,
    gpus,
    memoryBytes: memory,
    resources: resource,
    storeBytesMax: store,
    workersMax,
  }
  try {
    checkNodeOptions(nodeOptions)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
  if (options.detach === true) {
    const { pid, socketPath, resources } = await startDetached(nodeOptions)
    announce(options, { pid, socketPath, resources }, ['It runs in the background; `shoal down` stops it.'])
    return
  }
  await serveNode(nodeOptions, ({ socketPath, machine, store: { path: directory, bytesMax } }) => {
    const inMemory = directory.startsWith('/dev/shm/') ? 'in shared memory' : `in ${directory}`
    announce(options, { pid: process.pid, socketPath, resources: machine.total }, [
      `  store      ${formatAmount('memory', bytesMax)} ${inMemory}`,
      'Programs that call init() attach to it. Ctrl-C stops it.',
    ])
  })
  if (options.json !== true) process.stdout.write('The node has stopped.\n')
  process.exit()
}

interface Running {
  pid: number
  socketPath: string
  resources: ResourceSet
}

function announce({ json }: UpOptions, running: Running, more: string[]): void {
  const { pid, socketPath, resources } = running
  if (json === true) {
    process.stdout.write(`${JSON.stringify({ pid, socketPath, resources })}\n`)
    return
  }
  const lines = [
    `${styleText('green', 'A node is up')} (pid ${pid}).`,
    `  socket     ${socketPath}`,
    `  resources  ${formatResources(resources)}`,
    ...more,
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

/** Starts the node as a process of its own and waits until it is ready. */
async function startDetached(options: NodeOptions): Promise<ReadyLine> {
  const main = fileURLToPath(new URL(`../main${path.extname(import.meta.url)}`, import.meta.url))
  const child = spawn(process.execPath, [main, JSON.stringify(options)], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve)
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      const crashLog = path.join(nodePlaces().runtimeDirectory, 'crash.log')
      const how = signal ?? `exit code ${code}`
      // A line that it has printed comes before; the streams may lag behind the exit.
      setImmediate(() => reject(new NodeUnavailableError(`the node ended while it started (${how}); see ${crashLog}`)))
    })
  })
  child.unref()
  child.stdout.destroy()
  const said = JSON.parse(line) as ReadyLine | FailedLine
  if ('error' in said) throw new NodeUnavailableError(said.error.message)
  return said
}
