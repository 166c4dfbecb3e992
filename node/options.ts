import { isIP } from 'node:net'
import { InvalidArgumentError } from '../protocols/errors.ts'
import { isAcceleratorType } from '../protocols/accelerators.ts'
import { resourcesFromOptions } from '../protocols/resources.ts'
import { checkLabels } from '../protocols/scheduling.ts'
import { checkTypeCount, type ResourceOverrides } from './resources/detect.ts'

/** What a node may be told at its start. Resources that are not given are detected. */
export interface NodeOptions {
  /** CPUs that it offers to tasks. */
  cpus?: number | undefined
  /** GPUs that it offers: the first n of the machine; those that it does not have are made up. */
  gpus?: number | undefined
  /** The type of its GPUs, by which tasks ask for them, or one for each. */
  gpuTypes?: readonly string[] | undefined
  /** The memory of each of its GPUs. */
  gpuMemoryBytes?: number | undefined
  /** Memory that it offers to tasks. */
  memoryBytes?: number | undefined
  /**
   * Percent of the machine's memory (or of its control group's, if that has less) from which on workers are ended, so that
   * the system does not end the node instead. 100 for never.
   * @default 95
   */
  memoryLimitPercent?: number | undefined
  /** For tests: where the use of memory is read, in the form of `/proc/meminfo` and `/proc/vmstat`. */
  memoryInfoFile?: string | undefined
  /** Resources with names of the user's own. */
  resources?: Readonly<Record<string, number>> | undefined
  /** Folder of the socket and of the node's own files; `SHOAL_RUNTIME_DIR` and the system's default else. */
  runtimeDirectory?: string | undefined
  /** The node belongs to the program that started it, and ends when its standard input closes. */
  embedded?: boolean | undefined
  /** Bytes of values that the object store takes. Default: a third of the memory. */
  storeBytesMax?: number | undefined
  /** False: values for which the object store has no room are refused, not put on the disk. Default: true. */
  spill?: boolean | undefined
  /** Where such values go. Default: a disk's folder for temporary files, if there is one. */
  spillDirectory?: string | undefined
  /** False: values of other nodes of this machine come over the network, too, not from memory to memory. Default: true. */
  handOver?: boolean | undefined
  /** Worker processes at most. */
  workersMax?: number | undefined
  /** Workers that are kept ready. Default: the number of CPUs. */
  prestart?: number | undefined
  /** Workers beyond `prestart` are stopped when they were idle for so long. */
  workerIdleMs?: number | undefined
  /** A worker that has not reported for duty by then is killed. */
  workerStartMs?: number | undefined
  /** The program that workers run. Default: the SDK's. */
  workerEntry?: string | undefined
  /** False: no network at all. Default: true, but for an embedded node that joins no mesh. */
  mesh?: boolean | undefined
  /** A token to join a mesh with; '-' for the first line of standard input, since command lines can be read by others. */
  join?: string | undefined
  /** What the node is called in lists. Default: the name of the machine. */
  name?: string | undefined
  /** What the node is or where it stands, for tasks that ask for it. */
  labels?: Readonly<Record<string, string>> | undefined
  /** Where it can be reached. Default: all of the machine's addresses, at a port that is kept from start to start. */
  listen?: { readonly host: string; readonly port: number } | undefined
  /** Addresses of members, for networks where neighbours are not found by themselves. */
  peers?: readonly string[] | undefined
  /** False: do not look for neighbours. Default: true, unless it listens on this machine only. */
  mdns?: boolean | undefined
  /** Folder of what outlives the node: its key, its membership, whom it knows. */
  stateDirectory?: string | undefined
}

const types: Record<keyof NodeOptions, 'number' | 'string' | 'boolean' | 'object'> = {
  cpus: 'number',
  gpus: 'number',
  gpuTypes: 'object',
  gpuMemoryBytes: 'number',
  memoryBytes: 'number',
  memoryLimitPercent: 'number',
  memoryInfoFile: 'string',
  resources: 'object',
  runtimeDirectory: 'string',
  embedded: 'boolean',
  storeBytesMax: 'number',
  spill: 'boolean',
  spillDirectory: 'string',
  handOver: 'boolean',
  workersMax: 'number',
  prestart: 'number',
  workerIdleMs: 'number',
  workerStartMs: 'number',
  workerEntry: 'string',
  mesh: 'boolean',
  join: 'string',
  name: 'string',
  labels: 'object',
  listen: 'object',
  peers: 'object',
  mdns: 'boolean',
  stateDirectory: 'string',
}
const namePattern = /^[\w.-]{1,63}$/
const wholeNumbers = [
  'gpus',
  'gpuMemoryBytes',
  'storeBytesMax',
  'workersMax',
  'prestart',
  'workerIdleMs',
  'workerStartMs',
] as const

/** Checks options that come from outside. Throws InvalidArgumentError that names the option. */
export function checkNodeOptions(input: unknown): NodeOptions {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new InvalidArgumentError('the options of a node are one object, such as {"cpus":4}', { input })
  }
  for (const [name, value] of Object.entries(input)) {
    const type = types[name as keyof NodeOptions]
    if (!Object.hasOwn(types, name)) {
      throw new InvalidArgumentError(`a node has no option '${name}'; it has ${Object.keys(types).join(', ')}`, {
        name,
      })
    }
    if (value !== undefined && (typeof value !== type || value === null)) {
      throw new InvalidArgumentError(`the option ${name} of a node must be a ${type}; got ${JSON.stringify(value)}`, {
        name,
      })
    }
  }
  const options = input as NodeOptions
  for (const name of ['cpus', ...wholeNumbers] as const) checkNumber(name, options[name])
  resourcesFromOptions(resourceOptions(options), 'the options of the node')
  checkGpuTypes(options)
  checkPercent(options.memoryLimitPercent)
  checkSpill(options.spillDirectory)
  if (options.labels !== undefined) checkLabels(options.labels, 'the labels of the node')
  checkPlaceInMesh(options)
  return options
}

function checkGpuTypes({ gpuTypes, gpus }: NodeOptions): void {
  if (gpuTypes === undefined) return
  if (Array.isArray(gpuTypes) && gpuTypes.length > 0 && gpuTypes.every(isAcceleratorType)) {
    // How many there are is known here only if it is given.
    if (gpus !== undefined) checkTypeCount(gpuTypes, gpus)
    return
  }
  throw new InvalidArgumentError(
    `the option gpuTypes of a node must be a list of types of at most 48 characters, such as ["H100"]; got ${JSON.stringify(gpuTypes)}`,
    { gpuTypes },
  )
}

function checkPercent(percent: number | undefined): void {
  if (percent === undefined || (percent >= 1 && percent <= 100)) return
  throw new InvalidArgumentError(
    `the option memoryLimitPercent of a node must be a number from 1 to 100 (100: never); got ${percent}`,
    { memoryLimitPercent: percent },
  )
}

/** An empty path would be the folder that the node happens to run in. */
function checkSpill(spillDirectory: string | undefined): void {
  if (spillDirectory !== '') return
  throw new InvalidArgumentError("the option spillDirectory of a node must be a folder; got ''", { spillDirectory })
}

function checkPlaceInMesh({ listen, peers, name }: NodeOptions): void {
  if (listen !== undefined) {
    const isPort = Number.isInteger(listen.port) && listen.port >= 0 && listen.port <= 65_535
    if (isIP(listen.host) === 0 || !isPort) {
      throw new InvalidArgumentError(
        `the option listen of a node must be an IP address and a port, such as {"host":"0.0.0.0","port":7461}; got ${JSON.stringify(listen)}`,
        { listen },
      )
    }
  }
  if (peers !== undefined && !(Array.isArray(peers) && peers.every((each) => typeof each === 'string'))) {
    throw new InvalidArgumentError('the option peers of a node must be a list of addresses', { peers })
  }
  if (name !== undefined && !namePattern.test(name)) {
    throw new InvalidArgumentError(
      `the name of a node must be 1 to 63 letters, digits or . _ -; got ${JSON.stringify(name)}`,
      { name },
    )
  }
}

function checkNumber(name: string, value: number | undefined): void {
  if (value === undefined) return
  const minimum = name === 'workersMax' ? 1 : 0
  const isRight = name === 'cpus' ? Number.isFinite(value) : Number.isSafeInteger(value)
  if (isRight && value >= minimum) return
  const expected = `${name === 'cpus' ? 'a number' : 'a whole number'}, ${minimum} or more`
  throw new InvalidArgumentError(`the option ${name} of a node must be ${expected}; got ${String(value)}`, {
    name,
    value,
  })
}

/** The part of the options that detection takes as given. */
export function resourceOptions(options: NodeOptions): ResourceOverrides {
  const { cpus, gpus, gpuTypes, gpuMemoryBytes, memoryBytes, resources } = options
  return { numCpus: cpus, numGpus: gpus, gpuTypes, gpuMemoryBytes, memoryBytes, resources }
}
