import { InvalidArgumentError } from '../protocols/errors.ts'
import { resourcesFromOptions, type ResourceOptions } from '../protocols/resources.ts'

/** What a node may be told at its start. Resources that are not given are detected. */
export interface NodeOptions {
  /** CPUs that it offers to tasks. */
  cpus?: number | undefined
  /** GPUs that it offers: devices 0 to n - 1. */
  gpus?: number | undefined
  /** Memory that it offers to tasks. */
  memoryBytes?: number | undefined
  /** Resources with names of the user's own. */
  resources?: Readonly<Record<string, number>> | undefined
  /** Folder of the socket and of the node's own files; `SHOAL_RUNTIME_DIR` and the system's default else. */
  runtimeDirectory?: string | undefined
  /** The node belongs to the program that started it, and ends when its standard input closes. */
  embedded?: boolean | undefined
  /** Bytes of values that the object store takes. Default: a third of the memory. */
  storeBytesMax?: number | undefined
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
}

const types: Record<keyof NodeOptions, 'number' | 'string' | 'boolean' | 'object'> = {
  cpus: 'number',
  gpus: 'number',
  memoryBytes: 'number',
  resources: 'object',
  runtimeDirectory: 'string',
  embedded: 'boolean',
  storeBytesMax: 'number',
  workersMax: 'number',
  prestart: 'number',
  workerIdleMs: 'number',
  workerStartMs: 'number',
  workerEntry: 'string',
}
const wholeNumbers = ['gpus', 'storeBytesMax', 'workersMax', 'prestart', 'workerIdleMs', 'workerStartMs'] as const

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
  return options
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
export function resourceOptions({ cpus, gpus, memoryBytes, resources }: NodeOptions): ResourceOptions {
  return { numCpus: cpus, numGpus: gpus, memoryBytes, resources }
}
