import { InvalidArgumentError } from '../../protocols/errors.ts'
import { concurrencyGroupsMax, methodsMax } from '../../protocols/actor-messages.ts'
import {
  boolean,
  checkOptions,
  invalid,
  resolveTaskOptions,
  taskOptionChecks,
  text,
  type TaskOptions,
} from '../api/task-options.ts'
import type { LeaseTerms } from '../tasks/lease-terms.ts'
import type { ClassDescription } from './actor-handle.ts'
import type { MethodOptions } from './actor-types.ts'

/** Methods that share a bound on how many of their calls run at a time. */
export interface ConcurrencyGroup {
  maxConcurrency: number
  /** Their names. @default none: calls name the group by their option `concurrencyGroup` */
  methods?: readonly string[]
}

type Placing = Pick<
  TaskOptions,
  | 'numGpus'
  | 'acceleratorType'
  | 'gpuMemoryBytes'
  | 'resources'
  | 'memoryBytes'
  | 'runtimeEnv'
  | 'schedulingStrategy'
  | 'placementGroup'
  | 'captureChildTasks'
  | 'bundleIndex'
>

/** What `remote(class, options)` and its `.options()` take. */
export interface ActorOptions extends Placing {
  /**
   * CPUs that the actor holds for as long as it lives. Actors often wait, so by default one holds none, a node takes any
   * number of them, and they are spread over the nodes. @default 0
   */
  numCpus?: number
  /** A name by which `getActor` finds it; one actor at a time has it. @default none */
  name?: string
  /** Where the name is known: programs that use another namespace do not meet it. @default 'default' */
  namespace?: string
  /**
   * `'detached'`: it lives on without handles and without the program that made it, until it is killed. Else it ends with its
   * creator. @default undefined
   */
  lifetime?: 'detached'
  /** With a name that is taken: gives a handle of the actor that has it, instead of an error. @default false */
  getIfExists?: boolean
  /** How often it is started again when its process dies, with a fresh state; -1 for no end. @default 0 */
  maxRestarts?: number
  /**
   * How often a call is made again that was with the actor when its process died, and so may have run; -1 for no end. Calls
   * that had not been sent are not counted: they wait for the restart. @default 0
   */
  maxTaskRetries?: number
  /**
   * Calls that run at a time. Above 1 they interleave where they await; 1 runs each to its end, in their order. @default 1000
   * for a class with async methods, else 1
   */
  maxConcurrency?: number
  /** Bounds for some methods of their own, apart from all others. */
  concurrencyGroups?: Readonly<Record<string, number | ConcurrencyGroup>>
  /** Calls of one process that may be without a result; one more throws PendingCallsLimitError. 0 for no limit. @default 0 */
  maxPendingCalls?: number
}

/** Options after checking, with nothing left out. */
export interface ResolvedActorOptions {
  terms: LeaseTerms
  /** It does not say where it goes, and may be captured by the group of what makes it. */
  isFree: boolean
  name: string
  namespace: string
  isDetached: boolean
  getIfExists: boolean
  maxRestarts: number
  maxTaskRetries: number
  /** 0 for what suits the class. */
  maxConcurrency: number
  groups: { name: string; maxConcurrency: number; methods: string[] }[]
  maxPendingCalls: number
}

export const defaultNamespace = 'default'
const nameCharsMax = 128
const concurrencyMax = 100_000

const { numCpus, numGpus, acceleratorType, gpuMemoryBytes, resources, memoryBytes, runtimeEnv, schedulingStrategy } =
  taskOptionChecks
const { placementGroup, bundleIndex, captureChildTasks } = taskOptionChecks

const checks: Record<keyof ActorOptions, (value: unknown, name: string) => void> = {
  numCpus,
  numGpus,
  acceleratorType,
  gpuMemoryBytes,
  resources,
  memoryBytes,
  runtimeEnv,
  schedulingStrategy,
  placementGroup,
  bundleIndex,
  captureChildTasks,
  name: shortName,
  namespace: shortName,
  lifetime: (value, name) => {
    if (value !== 'detached') throw invalid(name, value, "'detached', or left out")
  },
  getIfExists: boolean,
  maxRestarts: tries,
  maxTaskRetries: tries,
  maxConcurrency: concurrency,
  concurrencyGroups: (value, name) => void groupsOf(value as ActorOptions['concurrencyGroups'], name),
  maxPendingCalls: (value, name) => {
    if (!Number.isInteger(value) || (value as number) < 0) throw invalid(name, value, 'a whole number, 0 or more')
  },
}

/** Checks options. Throws InvalidArgumentError or NotSupportedError that names the option. */
export function resolveActorOptions(options: ActorOptions): ResolvedActorOptions {
  checkOptions(options, checks, 'remote() of a class')
  const { name = '', namespace = defaultNamespace, getIfExists = false, lifetime } = options
  if (getIfExists && name === '') {
    throw new InvalidArgumentError('getIfExists needs a name: without one there is nothing to look for', {
      option: 'getIfExists',
    })
  }
  if (lifetime === 'detached' && options.placementGroup) {
    throw new InvalidArgumentError(
      'a detached actor cannot be in a placement group: the group ends with the program that made it, and the actor does not',
      { option: 'lifetime' },
    )
  }
  const placing = Object.fromEntries(
    Object.entries(options).filter(([key]) => placingNames.has(key as keyof ActorOptions)),
  )
  const { terms } = resolveTaskOptions({ ...placing, numCpus: options.numCpus ?? 0, ...strategyOf(options) })
  const isPlaced = options.schedulingStrategy !== undefined || options.placementGroup !== undefined
  return {
    terms,
    isFree: lifetime !== 'detached' && !isPlaced,
    name,
    namespace,
    isDetached: lifetime === 'detached',
    getIfExists,
    maxRestarts: options.maxRestarts ?? 0,
    maxTaskRetries: options.maxTaskRetries ?? 0,
    maxConcurrency: options.maxConcurrency ?? 0,
    groups: groupsOf(options.concurrencyGroups, 'concurrencyGroups'),
    maxPendingCalls: options.maxPendingCalls ?? 0,
  }
}

/** An actor that needs nothing fits everywhere, so that all of them would be on the node at hand. */
function strategyOf(options: ActorOptions): Pick<TaskOptions, 'schedulingStrategy'> {
  const { numCpus: cpus, numGpus: gpus, gpuMemoryBytes: gpuBytes, memoryBytes: bytes } = options
  const amounts = [cpus, gpus, gpuBytes, bytes, ...Object.values(options.resources ?? {})]
  const needsNothing = options.acceleratorType === undefined && amounts.every((amount = 0) => amount === 0)
  const isPlaced = options.schedulingStrategy !== undefined || Boolean(options.placementGroup)
  return needsNothing && !isPlaced ? { schedulingStrategy: 'spread' } : {}
}

/** Options that say where an actor runs, and mean what they mean for tasks. */
const placingNames = new Set<keyof ActorOptions>([
  'numGpus',
  'acceleratorType',
  'gpuMemoryBytes',
  'resources',
  'memoryBytes',
  'runtimeEnv',
  'schedulingStrategy',
  'placementGroup',
  'bundleIndex',
  'captureChildTasks',
])

const methodChecks: Record<keyof MethodOptions, (value: unknown, name: string) => void> = {
  numReturns: taskOptionChecks.numReturns,
  replicas: taskOptionChecks.replicas,
  name: taskOptionChecks.name,
  retryExceptions: taskOptionChecks.retryExceptions,
  maxTaskRetries: tries,
  concurrencyGroup: text,
}

export function checkMethodOptions(options: MethodOptions, { className, concurrencyGroups }: ClassDescription): void {
  checkOptions(options, methodChecks, `a method of actor ${className}`)
  const { concurrencyGroup } = options
  if (concurrencyGroup === undefined || concurrencyGroups.includes(concurrencyGroup)) return
  const known = concurrencyGroups.length === 0 ? 'it has none' : `it has ${concurrencyGroups.join(', ')}`
  throw new InvalidArgumentError(`actor ${className} has no concurrency group '${concurrencyGroup}'; ${known}`, {
    option: 'concurrencyGroup',
  })
}

/** Checks the methods that groups name against those that there are. */
export function checkGroupMethods(
  groups: ResolvedActorOptions['groups'],
  { className, methods }: ClassDescription,
): void {
  const groupOf = new Map<string, string>()
  for (const group of groups) {
    for (const method of group.methods) {
      const what = `concurrencyGroups.${group.name}.methods`
      if (!Object.hasOwn(methods, method)) {
        throw new InvalidArgumentError(`${what}: actor ${className} has no method ${method}`, { option: what })
      }
      const other = groupOf.get(method)
      if (other !== undefined) {
        throw new InvalidArgumentError(`${what}: ${method} is in the group ${other} already`, { option: what })
      }
      groupOf.set(method, group.name)
    }
  }
}

function groupsOf(groups: ActorOptions['concurrencyGroups'], name: string): ResolvedActorOptions['groups'] {
  if (groups === undefined) return []
  if (typeof groups !== 'object' || groups === null || Array.isArray(groups)) {
    throw invalid(name, groups, 'an object such as { io: 2, compute: { maxConcurrency: 4, methods: [...] } }')
  }
  const entries = Object.entries(groups)
  if (entries.length > concurrencyGroupsMax) throw invalid(name, groups, `at most ${concurrencyGroupsMax} groups`)
  return entries.map(([group, value]) => {
    const where = `${name}.${group}`
    shortName(group, where)
    if (typeof value === 'number') {
      concurrency(value, where)
      return { name: group, maxConcurrency: value, methods: [] }
    }
    const { maxConcurrency, methods = [] } = (value ?? {}) as Partial<ConcurrencyGroup>
    concurrency(maxConcurrency, `${where}.maxConcurrency`)
    const isList = Array.isArray(methods) && methods.every((method) => typeof method === 'string')
    if (!isList || methods.length > methodsMax) throw invalid(`${where}.methods`, methods, 'a list of names of methods')
    return { name: group, maxConcurrency: maxConcurrency as number, methods: [...methods] }
  })
}

export function shortName(value: unknown, name: string): void {
  if (typeof value !== 'string' || value === '' || value.length > nameCharsMax) {
    throw invalid(name, value, `a text of 1 to ${nameCharsMax} characters`)
  }
}

function tries(value: unknown, name: string): void {
  if (!Number.isInteger(value) || (value as number) < -1) {
    throw invalid(name, value, 'a whole number, 0 or more, or -1 for no end')
  }
}

function concurrency(value: unknown, name: string): void {
  if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > concurrencyMax) {
    throw invalid(name, value, `a whole number from 1 to ${concurrencyMax}`)
  }
}
