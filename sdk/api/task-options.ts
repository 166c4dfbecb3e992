import { clip } from '../../protocols/clip.ts'
import { InvalidArgumentError, NotSupportedError } from '../../protocols/errors.ts'
import { acceleratorName, isAcceleratorType } from '../../protocols/accelerators.ts'
import { optionFor, resourcesFromOptions, type ResourceSet } from '../../protocols/resources.ts'
import { checkLabelSelector, defaultStrategy, isNodeId, type SchedulingStrategy } from '../../protocols/scheduling.ts'
import { mapKeyBytesMax } from '../../protocols/schema.ts'
import type { LabelOption } from './label-option.ts'
import { amount, boolean, checkOptions, invalid, oneOrMore, plainObject, type Check } from './option-checks.ts'
import { groupText } from './own-group.ts'
import { bundleOf, groupOptionChecks, type GroupOptions } from './placement-group.ts'
import { leaseTerms, type LeaseTerms } from '../tasks/lease-terms.ts'

export { abortSignal, amount, boolean, checkOptions, invalid, oneOrMore, show, text } from './option-checks.ts'
export type { LabelOption } from './label-option.ts'

type ErrorClass = abstract new (...args: never[]) => unknown

/** What `remote(fn, options)` and `.options()` take. */
export interface TaskOptions extends GroupOptions {
  /** CPUs that one call needs; fractions are allowed. @default 1 */
  numCpus?: number
  /**
   * GPUs that one call needs: a fraction shares a device with others, whole numbers are devices of its own. The worker sees
   * no other devices (`CUDA_VISIBLE_DEVICES` and the like); that it uses no more of a shared one is up to the function.
   * @default 0, with `acceleratorType` 1
   */
  numGpus?: number
  /**
   * The type of GPU that one call needs, as `shoal status` and `nodes()` tell it, or several that will do: `'H100'`,
   * `['RTX 3090', 'RTX 4090']`. Case, spaces and dashes do not matter. @default any
   */
  acceleratorType?: string | readonly string[]
  /**
   * GPU memory that one call needs, in bytes: it gets a device of which so much is left, and holds that part of it, or
   * `numGpus` if that is more. With several whole devices, each has so much. It is reserved, not enforced. @default 0
   */
  gpuMemoryBytes?: number
  /** Other resources that one call needs, by the names under which nodes offer them. */
  resources?: Readonly<Record<string, number>>
  /** Memory that one call needs, in bytes: it is reserved, not enforced. @default 0 */
  memoryBytes?: number
  /**
   * How often a call is tried again when its worker dies; 0 for never. When its machine has run out of memory, after a pause
   * that doubles from try to try; workers whose calls can be tried again are ended first then. @default 3
   */
  maxRetries?: number
  /** Whether errors that the function throws are retried, too: all, none, or those of some classes. @default false */
  retryExceptions?: boolean | readonly ErrorClass[]
  /**
   * How many objects a call makes: with n > 1 the function returns an array of n values and the call gives n refs. With
   * `'streaming'` the function is a generator and the call gives a stream of refs. @default 1, for generators 'streaming'
   */
  numReturns?: number | 'streaming'
  /**
   * On how many nodes large results are kept, the one that makes them included, so that they outlive those nodes; on all there
   * are when there are fewer. They are made in the background. For as long as the process that called lives, another node
   * takes one when one of them is gone. A result that is not over 100 KiB lies in that process alone. @default 1
   *
   * @example
   * const train = remote(fit, { replicas: 2, maxRetries: 0 })
   */
  replicas?: number
  /** The name in messages, `shoal status` and before console output. @default the function's own name */
  name?: string
  /** What the worker's process is given: environment variables. */
  runtimeEnv?: { readonly envVars?: Readonly<Record<string, string>> }
  /**
   * Where it may run: `'default'` fills the node at hand to the half, then takes the best of the others; `'spread'` goes
   * over all nodes evenly; `{ nodeId }` names one node (`soft`: rather there than elsewhere); `{ labels }` takes nodes with
   * such labels. @default 'default'
   *
   * @example
   * const train = remote(fit, { schedulingStrategy: { labels: { gpu: { in: ['a100', 'h100'] }, laptop: { exists: false } } } })
   */
  schedulingStrategy?: SchedulingStrategyOption
}

/** Where a task may run: see {@link TaskOptions.schedulingStrategy}. */
export type SchedulingStrategyOption =
  | 'default'
  | 'spread'
  | { readonly nodeId: string; readonly soft?: boolean }
  | { readonly labels: Readonly<Record<string, LabelOption>> }

/** Options after checking, with nothing left out. */
export interface ResolvedOptions {
  terms: LeaseTerms
  /** It does not say where it goes, and may be captured. */
  isFree: boolean
  maxRetries: number
  retryExceptions: boolean | readonly ErrorClass[]
  /** Undefined: 1, or a stream for generators. */
  numReturns: number | 'streaming' | undefined
  replicas: number
  name: string | undefined
}

const numReturnsMax = 1000
const envVarsMax = 500
const envBytesMax = 32 * 1024
const resourcesMax = 100
const typesMax = 16
/** What the node itself sets for its workers. */
const reservedVariables = /^(SHOAL_(SOCKET|WORKER_ID|OUTPUT_TOKEN)|(CUDA|HIP|ROCR)_VISIBLE_DEVICES|NODE_COMPILE_CACHE)$/

/** What each option of a task must be. */
export const taskOptionChecks: Record<keyof TaskOptions, Check> = {
  numCpus: amount,
  numGpus: (value, name) => {
    amount(value, name)
    const gpus = value as number
    if (gpus > 1 && !Number.isInteger(gpus)) {
      throw invalid(name, value, 'a fraction up to 1, or a whole number above 1')
    }
  },
  acceleratorType: (value, name) => {
    const isList =
      Array.isArray(value) && value.length > 0 && value.length <= typesMax && value.every(isAcceleratorType)
    if (!isList && !isAcceleratorType(value)) {
      throw invalid(name, value, `a type of GPU of 1 to 48 characters, such as 'H100', or 1 to ${typesMax} of them`)
    }
  },
  gpuMemoryBytes: amount,
  memoryBytes: amount,
  maxRetries: (value, name) => {
    if (!Number.isInteger(value) || (value as number) < 0) throw invalid(name, value, 'a whole number, 0 or more')
  },
  resources: (value, name) => {
    const entries = Object.entries(plainObject(value, name))
    if (entries.length > resourcesMax) {
      throw new InvalidArgumentError(`${name} has ${entries.length} names; at most ${resourcesMax} are possible`, {
        option: name,
      })
    }
    for (const [key, item] of entries) {
      const option = optionFor(key)
      if (option !== undefined) {
        throw new InvalidArgumentError(`${name}: ask for ${key} by the option ${option}`, { option: name })
      }
      if (!/^[A-Za-z][\w.:/-]{0,63}$/.test(key)) {
        throw new InvalidArgumentError(
          `${name}: ${JSON.stringify(key)} is no name of a resource: a letter, then letters, digits or _ . : / -, at most 64`,
          { option: name },
        )
      }
      amount(item, `${name}.${key}`)
    }
  },
  retryExceptions: (value, name) => {
    const isList = Array.isArray(value) && value.every((item) => typeof item === 'function')
    if (typeof value !== 'boolean' && !isList) throw invalid(name, value, 'true, false or a list of error classes')
  },
  numReturns: (value, name) => {
    const isCount = Number.isInteger(value) && (value as number) >= 1 && (value as number) <= numReturnsMax
    if (value !== 'streaming' && !isCount) throw invalid(name, value, `1 to ${numReturnsMax}, or 'streaming'`)
  },
  replicas: oneOrMore,
  name: (value, name) => {
    if (typeof value !== 'string' || value === '' || value.length > 200) {
      throw invalid(name, value, 'a text of 1 to 200 characters')
    }
  },
  runtimeEnv: (value, name) => {
    for (const key of Object.keys(plainObject(value, name))) {
      if (key !== 'envVars') {
        throw new NotSupportedError(
          `${name}.${key} is not built yet: today a runtime environment is { envVars } only`,
          {
            option: `${name}.${key}`,
          },
        )
      }
    }
    const { envVars = {} } = value as { envVars?: unknown }
    const variables = Object.entries(plainObject(envVars, `${name}.envVars`))
    for (const [key, item] of variables) {
      checkVariableName(key, `${name}.envVars`)
      if (typeof item !== 'string') throw invalid(`${name}.envVars.${key}`, item, 'a text')
      if (reservedVariables.test(key)) {
        throw new InvalidArgumentError(
          `${name}.envVars.${key} is set by the node itself${key.endsWith('_VISIBLE_DEVICES') ? ': ask for GPUs by the option numGpus' : ''}`,
          { option: `${name}.envVars.${key}` },
        )
      }
      if (item.includes('\0')) throw invalid(`${name}.envVars.${key}`, item, 'a text without a zero byte')
    }
    const bytes = variables.reduce(
      (sum, [key, item]) => sum + Buffer.byteLength(key) + Buffer.byteLength(String(item)),
      0,
    )
    if (variables.length > envVarsMax || bytes > envBytesMax) {
      throw new InvalidArgumentError(
        `${name}.envVars has ${variables.length} variables of ${bytes} bytes; at most ${envVarsMax} of ${envBytesMax} bytes are possible: pass data as an argument`,
        { option: `${name}.envVars` },
      )
    }
  },
  ...groupOptionChecks,
  schedulingStrategy: (value, name) => void strategyOf(value as SchedulingStrategyOption, name),
}

function checkVariableName(key: string, where: string): void {
  const bytes = Buffer.byteLength(key)
  if (bytes > 0 && bytes <= mapKeyBytesMax && !/[=\0]/.test(key)) return
  throw new InvalidArgumentError(
    `${where} has a variable ${JSON.stringify(clip(key, 64))} of ${bytes} bytes; the name of a variable has 1 to ${mapKeyBytesMax} bytes, and no = or zero byte`,
    { option: where, variable: key },
  )
}

/** Checks options. Throws InvalidArgumentError or NotSupportedError that names the option. */
export function resolveTaskOptions(options: TaskOptions): ResolvedOptions {
  checkOptions(options, taskOptionChecks, 'remote()')
  // What is too little to be counted, or too much.
  resourcesFromOptions(options, 'remote()')
  const { numCpus = 1, memoryBytes = 0, resources = {}, placementGroup: group } = options
  const set: Record<string, number> = { CPU: numCpus, ...gpusOf(options) }
  if (memoryBytes > 0) set['memory'] = memoryBytes
  for (const [name, value] of Object.entries(resources)) if (value > 0) set[name] = value
  return {
    terms: leaseTerms(
      set satisfies ResourceSet,
      options.runtimeEnv?.envVars ?? {},
      placeOf(options, set),
      options.maxRetries !== 0,
      group ? groupText(group, options.captureChildTasks === true) : '',
    ),
    isFree: group === undefined && options.schedulingStrategy === undefined,
    maxRetries: options.maxRetries ?? 3,
    retryExceptions: options.retryExceptions ?? false,
    numReturns: options.numReturns,
    replicas: options.replicas ?? 1,
    name: options.name,
  }
}

/** Where it may run: in a bundle, or by its strategy. */
function placeOf(options: TaskOptions, resources: ResourceSet): SchedulingStrategy {
  const bundle = bundleOf(options, resources)
  if (bundle === undefined) return strategyOf(options.schedulingStrategy, 'schedulingStrategy')
  if (options.schedulingStrategy === undefined) return bundle
  throw new InvalidArgumentError(
    'schedulingStrategy and placementGroup both say where it runs: leave one of them out (the group has labels for each bundle)',
    { option: 'schedulingStrategy' },
  )
}

/** What is asked of GPUs. Throws InvalidArgumentError when a type is asked for, and none of it. */
function gpusOf({ acceleratorType = [], gpuMemoryBytes = 0, numGpus }: TaskOptions): ResourceSet {
  const types = typeof acceleratorType === 'string' ? [acceleratorType] : acceleratorType
  const gpus = numGpus ?? (types.length > 0 && gpuMemoryBytes === 0 ? 1 : 0)
  if (types.length > 0 && gpus === 0 && gpuMemoryBytes === 0) {
    throw new InvalidArgumentError(
      `acceleratorType asks for a GPU (${types.join(', ')}), and numGpus for none; leave numGpus out, or give it a number above 0`,
      { option: 'acceleratorType' },
    )
  }
  return {
    ...(gpus > 0 ? { GPU: gpus } : {}),
    ...(gpuMemoryBytes > 0 ? { gpuMemory: gpuMemoryBytes } : {}),
    ...Object.fromEntries(types.map((type) => [acceleratorName(type), 1])),
  }
}

/** The strategy as it goes over the wire. Throws InvalidArgumentError that names the part that is wrong. */
function strategyOf(option: SchedulingStrategyOption | undefined, name: string): SchedulingStrategy {
  if (option === undefined || option === 'default') return defaultStrategy
  if (option === 'spread') return { kind: 'spread' }
  const expected = "'default', 'spread', { nodeId: '…', soft: true } or { labels: { zone: 'lab1' } }"
  if (typeof option !== 'object' || option === null) throw invalid(name, option, expected)
  const keys = Object.keys(option)
  if ('nodeId' in option && keys.every((key) => key === 'nodeId' || key === 'soft')) {
    const { nodeId, soft = false } = option
    if (typeof nodeId !== 'string' || !isNodeId(nodeId)) {
      throw invalid(`${name}.nodeId`, nodeId, 'the id of a node, 16 hex digits: nodes() and `shoal nodes` tell it')
    }
    boolean(soft, `${name}.soft`)
    return { kind: 'node', node: nodeId, isSoft: soft }
  }
  if ('labels' in option && keys.length === 1) {
    return { kind: 'labels', selector: checkLabelSelector(option.labels, `${name}.labels`) }
  }
  throw invalid(name, option, expected)
}
