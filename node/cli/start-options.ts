import type { Command } from 'commander'
import { formatAmount } from '../../protocols/resources.ts'
import { checkNodeOptions, type NodeOptions } from '../options.ts'
import { machineMemoryBytes } from '../system/machine-memory.ts'
import {
  parseAmount,
  parseBytes,
  parseCount,
  parseGpuTypes,
  parseLabel,
  parseListen,
  parsePeer,
  parseResource,
  parseText,
} from './parse-options.ts'
import { UsageError } from './usage-error.ts'

/** The options of the commands that start a node. */
export interface StartOptions {
  cpus?: number
  gpus?: number
  gpuType?: string[]
  gpuMemory?: number
  memory?: number
  memoryLimitPercent?: number
  resource?: Record<string, number>
  store?: number
  spillDir?: string
  /** False for `--no-spill`; true says nothing. */
  spill?: boolean
  /** False for `--no-hand-over`; true says nothing. */
  handOver?: boolean
  workersMax?: number
  name?: string
  label?: Record<string, string>
  listen?: { host: string; port: number }
  peer?: string[]
  /** False for `--no-mdns`; true says nothing. */
  mdns?: boolean
  mesh?: boolean
  detach?: boolean
  json?: boolean
}

export function addStartOptions(command: Command): Command {
  return command
    .option('--cpus <number>', 'CPUs to offer to tasks', parseAmount('--cpus', 'a number of CPUs'))
    .option(
      '--gpus <count>',
      'GPUs to offer: the first so many of the machine',
      parseCount('--gpus', 'a whole number of GPUs', 0),
    )
    .option(
      '--gpu-type <type>',
      'the type of the GPUs, by which tasks ask for them (default: as detected); or one for each: H100,A100',
      parseGpuTypes,
    )
    .option('--gpu-memory <size>', 'the memory of each GPU (default: as detected)', parseBytes('--gpu-memory'))
    .option('--memory <size>', 'memory to offer to tasks, such as 4GiB', parseBytes('--memory'))
    .option(
      '--memory-limit-percent <percent>',
      'end workers when so much of the memory is in use; 100 for never (default: 95)',
      parseAmount('--memory-limit-percent', 'a number from 1 to 100'),
    )
    .option('--resource <name=amount>', 'a resource with a name of your own; may be repeated', parseResource)
    .option('--store <size>', 'size of the object store', parseBytes('--store'))
    .option(
      '--spill-dir <folder>',
      'where values go that there is no room for; made if only its last part is missing (default: /var/tmp, if on a disk)',
      parseText('--spill-dir', 'a folder (one whose name begins with - as ./-name)'),
    )
    .option('--no-spill', 'refuse values that there is no room for')
    .option('--no-hand-over', 'have values of other nodes of this machine come over the network, too')
    .option('--workers-max <count>', 'worker processes at most', parseCount('--workers-max', 'a whole number', 1))
    .option(
      '--name <name>',
      "what the node is called in lists (default: the machine's name)",
      parseText('--name', 'a name that does not begin with -'),
    )
    .option('--label <name=value>', 'what the node is or where it stands; may be repeated', parseLabel)
    .option(
      '--listen <ip[:port]>',
      'where other machines reach it (default: all addresses, at a port that stays the same)',
      parseListen,
    )
    .option('--peer <address>', 'where a member is, if it is not found by itself; may be repeated', parsePeer)
    .option('--no-mdns', 'do not look for neighbours by multicast')
    .option('-d, --detach', 'return when the node is ready and leave it running')
    .option('--json', 'print one line of JSON when the node is ready')
}

/** What the node is told. Throws UsageError that names what cannot be. */
export function nodeOptionsOf(
  options: StartOptions,
  more: Pick<NodeOptions, 'join'> = {},
  memoryBytesMax = machineMemoryBytes(),
): NodeOptions {
  checkStore(options, memoryBytesMax)
  const {
    cpus,
    gpus,
    gpuType,
    gpuMemory,
    memory,
    memoryLimitPercent,
    resource,
    store,
    spillDir,
    workersMax,
    name,
    label,
    listen,
    peer,
  } = options
  const given: NodeOptions = {
    cpus,
    gpus,
    gpuTypes: gpuType,
    gpuMemoryBytes: gpuMemory,
    memoryBytes: memory,
    memoryLimitPercent,
    resources: resource,
    storeBytesMax: store,
    spillDirectory: spillDir,
    workersMax,
    name,
    labels: label,
    listen,
    peers: peer,
    ...(options.spill === false ? { spill: false } : {}),
    ...(options.handOver === false ? { handOver: false } : {}),
    ...(options.mdns === false ? { mdns: false } : {}),
    ...(options.mesh === false ? { mesh: false } : {}),
    ...more,
  }
  try {
    return checkNodeOptions(given)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function checkStore({ store, spill, spillDir }: StartOptions, memoryBytesMax: number): void {
  if (spill === false && spillDir !== undefined) {
    throw new UsageError(
      '--spill-dir says where values go that there is no room for, --no-spill refuses them: give one',
    )
  }
  if (store === undefined || store <= memoryBytesMax) return
  const [asked, there] = [store, memoryBytesMax].map((bytes) => formatAmount('memory', bytes))
  throw new UsageError(
    `--store is ${asked}, and this machine has ${there} of memory: give less; values that there is no room for go to the disk (--spill-dir)`,
  )
}
