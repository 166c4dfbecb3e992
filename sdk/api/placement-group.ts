import { inspect } from 'node:util'
import { acceleratorOf } from '../../protocols/accelerators.ts'
import { GetTimeoutError, InfeasibleError, InvalidArgumentError, ShoalError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import {
  checkBundles,
  formatBundle,
  isPlacementStrategy,
  placementStrategies,
  type BundleSpec,
  type GroupId,
  type GroupReport,
  type PlacementStrategy,
} from '../../protocols/placement-groups.ts'
import { amountOf, formatResources, type ResourceSet } from '../../protocols/resources.ts'
import { currentRuntime } from '../runtime/current-runtime.ts'
import { groupRemoved, type GroupDefinition, type GroupStatus } from '../runtime/group-calls.ts'
import { timerMs } from '../runtime/timer-ms.ts'
import type { LabelOption } from './label-option.ts'
import { abortSignal, amount, boolean, checkOptions, invalid, text } from './option-checks.ts'

/**
 * What is reserved on one node, as one piece: resources by name, and with `labels` on a node that has such.
 *
 * @example
 * const bundle: Bundle = { CPU: 2, GPU: 1, camera: 1, labels: { zone: 'lab1' } }
 */
export interface Bundle {
  readonly CPU?: number
  readonly GPU?: number
  /** In bytes. */
  readonly memory?: number
  /** Which nodes may have it; by names of resources of your own, amounts of those. */
  readonly labels?: Readonly<Record<string, LabelOption>>
  readonly [resource: string]: number | Readonly<Record<string, LabelOption>> | undefined
}

export interface PlacementGroupOptions {
  /**
   * How the bundles lie to each other: `'PACK'` on as few nodes as possible, `'SPREAD'` on as many as possible,
   * `'STRICT_PACK'` on one or not at all, `'STRICT_SPREAD'` each on a node of its own or not at all. @default 'PACK'
   */
  strategy?: PlacementStrategy
  /** For messages and `shoal placement-groups`. */
  name?: string
}

export interface ReadyOptions {
  /** How long to wait, in milliseconds. @default no limit */
  timeoutMs?: number
  /** Ends the wait with the signal's reason. The group stays as it is. */
  signal?: AbortSignal
}

/** A placement group for people to read: see {@link placementGroups}. */
export type PlacementGroupInfo = GroupReport

type Description = readonly [id: GroupId, name: string, strategy: PlacementStrategy, bundles: readonly BundleSpec[]]

const checks = {
  strategy: (value: unknown, name: string) => {
    if (!isPlacementStrategy(value)) throw invalid(name, value, `one of ${placementStrategies.join(', ')}`)
  },
  name: text,
}
const nameCharsMax = 200
const readyChecks = {
  timeoutMs: amount,
  signal: abortSignal,
}

/**
 * Resources of one or several nodes that are reserved together: bundles, each on one node, all of them or none. Made by
 * {@link placementGroup}; it can be passed to tasks.
 */
export class PlacementGroup {
  readonly id: GroupId
  /** Empty when it has none. */
  readonly name: string
  readonly strategy: PlacementStrategy
  readonly bundles: readonly BundleSpec[]

  /** @internal Use `placementGroup()`. */
  constructor(id: GroupId, { name, strategy, bundles }: GroupDefinition) {
    this.id = id
    this.name = name
    this.strategy = strategy
    this.bundles = bundles
  }

  /**
   * Waits until all bundles are reserved, and gives the group itself. While a bundle waits for room, so does this. Bundles
   * of a node that has died are placed anew, and meanwhile the group is not ready.
   *
   * Rejects with GetTimeoutError, which says what the group waits for; InfeasibleError when it fits nowhere, however empty
   * the nodes are (nodes that join later may change that: ask again); PlacementGroupRemovedError.
   *
   * @example
   * const group = await placementGroup([{ CPU: 1 }, { CPU: 1 }]).ready({ timeoutMs: 5000 })
   */
  async ready(options: ReadyOptions = {}): Promise<this> {
    checkOptions(options, readyChecks, 'ready()')
    const { timeoutMs, signal } = options
    const runtime = currentRuntime()
    let last: GroupStatus | undefined
    const ends = new AbortController()
    const onAbort = (): void => ends.abort(signal?.reason)
    signal?.addEventListener('abort', onAbort)
    if (signal?.aborted === true) onAbort()
    const onTime = (): void => ends.abort(this.#notReady(timeoutMs ?? 0, last))
    const timer = timeoutMs === undefined ? undefined : setTimeout(onTime, timerMs(timeoutMs))
    try {
      const isReady = (status: GroupStatus): boolean => {
        last = status
        return this.#isReady(status)
      }
      await runtime.waiting(runtime.groups.until(this.id, isReady, ends.signal))
      return this
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      // When the task that waits is cancelled, nobody waits any more.
      ends.abort()
    }
  }

  #isReady({ state, reason }: GroupStatus): boolean {
    switch (state) {
      case 'ready':
        return true
      case 'pending':
        return false
      case 'infeasible':
        throw new InfeasibleError(`${this.#title} fits nowhere: ${reason}`, { group: this.id, reason })
      case 'refused':
        throw new ShoalError('PLACEMENT_GROUP_REFUSED', `${this.#title} was not made: ${reason}`, {
          details: { group: this.id, reason },
        })
      case 'removed':
        throw groupRemoved(this.id, this.name, reason)
    }
  }

  #notReady(timeoutMs: number, status: GroupStatus | undefined): GetTimeoutError {
    const reason = status === undefined || status.reason === '' ? 'its bundles are being reserved' : status.reason
    const message = `${this.#title} is not ready after ${timeoutMs} ms: ${reason}`
    return new GetTimeoutError(message, { group: this.id, timeoutMs, reason })
  }

  /**
   * On which node each bundle is, as far as this process has heard: the process that made the group hears of every change,
   * others while they wait in `ready()`. Undefined for a bundle that is nowhere.
   */
  get nodeIds(): readonly (NodeId | undefined)[] {
    const nodes = currentRuntime().groups.nodesOf(this.id) ?? []
    return this.bundles.map((_, index) => nodes[index] || undefined)
  }

  /**
   * Removes the group: what runs in it is killed, what waits for it fails with PlacementGroupRemovedError, and its resources
   * are free again. A second time does nothing. A group ends with the process that made it, too.
   *
   * @example
   * const group = placementGroup([{ CPU: 1 }])
   * await group.remove()
   */
  async remove(): Promise<void> {
    const runtime = currentRuntime()
    await runtime.waiting(runtime.groups.remove(this.id))
  }

  /** @internal How it travels inside a value. */
  describe(): Description {
    return [this.id, this.name, this.strategy, this.bundles]
  }

  /** @internal The group that another process has described. */
  static revive(data: unknown): PlacementGroup {
    const [id, name, strategy, bundles] = data as Description
    return new PlacementGroup(id, { name, strategy, bundles })
  }

  get #title(): string {
    return `placement group ${this.name === '' ? this.id : `${this.name} (${this.id})`}`
  }

  [inspect.custom](): string {
    const bundles = this.bundles.map((bundle) => formatBundle(bundle)).join('; ')
    return `PlacementGroup(${this.name === '' ? this.id : this.name}: ${this.strategy} of ${bundles})`
  }
}

/**
 * Reserves bundles of resources on the nodes of the mesh, all of them or none, and returns at once: `ready()` tells when they
 * are there. Tasks run in a bundle with the options `placementGroup` and `bundleIndex`, and take their resources from it.
 *
 * The group lives until it is removed, or until this process ends. Bundles of a node that dies are placed anew.
 *
 * @param bundles what each of them holds; see {@link Bundle}
 *
 * Throws InvalidArgumentError for a wrong bundle or option, NotInitializedError before `init()`.
 *
 * @example
 * const group = placementGroup([{ CPU: 1 }, { CPU: 1 }], { strategy: 'PACK' })
 * await group.ready({ timeoutMs: 5000 })
 * console.log(await get(square.options({ placementGroup: group, bundleIndex: 1 }).remote(3))) // 9
 * await group.remove()
 */
export function placementGroup(bundles: readonly Bundle[], options: PlacementGroupOptions = {}): PlacementGroup {
  checkOptions(options, checks, 'placementGroup()')
  const { strategy = 'PACK', name = '' } = options
  if (name.length > nameCharsMax) throw invalid('name', name, `a text of at most ${nameCharsMax} characters`)
  const definition = { name, strategy, bundles: checkBundles(bundles) }
  return new PlacementGroup(currentRuntime().createGroup(definition), definition)
}

/**
 * Removes a placement group: see {@link PlacementGroup.remove}.
 *
 * @example
 * const group = placementGroup([{ CPU: 1 }])
 * await removePlacementGroup(group)
 */
export async function removePlacementGroup(group: PlacementGroup): Promise<void> {
  if (!(group instanceof PlacementGroup)) throw invalid('group', group, 'a placement group')
  await group.remove()
}

/**
 * The placement groups of the mesh, the oldest first, a thousand at most: how they stand, why they wait, where their bundles
 * are.
 *
 * @example
 * for (const { name, state, reason } of await placementGroups()) console.log(name, state, reason)
 */
export async function placementGroups(): Promise<readonly PlacementGroupInfo[]> {
  const { groups } = await currentRuntime().admin('placementGroups', {})
  return groups
}

/** The options that put work into a group; actors and tasks have them alike. */
export interface GroupOptions {
  /**
   * A placement group from whose bundles the work takes its resources. It waits until the group is ready. Null: in none, even
   * when what starts it has `captureChildTasks`.
   *
   * @example
   * const group = placementGroup([{ CPU: 1 }])
   * console.log(await get(square.options({ placementGroup: group, bundleIndex: 0 }).remote(2))) // 4
   */
  placementGroup?: PlacementGroup | null
  /** Which of its bundles, the first being 0. @default any that has room */
  bundleIndex?: number
  /**
   * What the work starts itself, tasks and actors, runs in the group, too, in any bundle that has room, and so does what that
   * starts; but for detached actors, and what says where it runs by `placementGroup` or `schedulingStrategy`. @default false
   *
   * @example
   * const group = placementGroup([{ CPU: 1 }])
   * const all = remote((parts: number[]) => get(parts.map((part) => square.remote(part))))
   * console.log(await get(all.options({ placementGroup: group, captureChildTasks: true }).remote([1, 2]))) // [1, 4]
   */
  captureChildTasks?: boolean
}

/** The checks of {@link GroupOptions}. */
export const groupOptionChecks = {
  placementGroup: (value: unknown, name: string) => {
    if (value !== null && !(value instanceof PlacementGroup))
      throw invalid(name, value, 'a placement group, as placementGroup() gives it, or null for none')
  },
  captureChildTasks: boolean,
  bundleIndex: (value: unknown, name: string) => {
    if (!Number.isInteger(value) || (value as number) < 0)
      throw invalid(name, value, 'the number of a bundle, 0 or more')
  },
}

/**
 * The bundle that checked options name; undefined when they name none. Throws InvalidArgumentError when the group has no such
 * bundle, or when none could ever hold these resources.
 */
export function bundleOf(
  { placementGroup: group, bundleIndex, captureChildTasks }: GroupOptions,
  resources: ResourceSet,
): { kind: 'group'; group: GroupId; bundle: number | 'any' } | undefined {
  if (group === undefined || group === null) {
    if (bundleIndex === undefined && captureChildTasks !== true) return undefined
    const [option, what] =
      bundleIndex === undefined
        ? ['captureChildTasks', 'puts what a task starts into its placement group']
        : ['bundleIndex', 'names a bundle of a placement group']
    throw new InvalidArgumentError(`${option} ${what}: give placementGroup, too`, { option })
  }
  const { bundles, id } = group
  if (bundleIndex !== undefined && bundleIndex >= bundles.length) {
    throw new InvalidArgumentError(
      `bundleIndex is ${bundleIndex}; placement group ${group.name || id} has ${bundles.length} bundles, the first being 0`,
      { option: 'bundleIndex', bundleIndex, count: bundles.length },
    )
  }
  const candidates = bundleIndex === undefined ? bundles : bundles.slice(bundleIndex, bundleIndex + 1)
  if (!candidates.some((bundle) => holds(bundle.resources, resources))) {
    const shown = candidates.slice(0, bundlesShown).map((bundle, at) => {
      return `bundle ${(bundleIndex ?? 0) + at} has ${formatResources(bundle.resources)}`
    })
    const more = candidates.length > bundlesShown ? `, and ${candidates.length - bundlesShown} more are too small` : ''
    throw new InvalidArgumentError(
      `one call asks for ${formatResources(resources)}, which fits no bundle of placement group ${group.name || id}: ` +
        `${shown.join(', ')}${more}; ask for less (numCpus is 1 unless you say otherwise), or make larger bundles`,
      { option: 'placementGroup', asked: resources },
    )
  }
  return { kind: 'group', group: id, bundle: bundleIndex ?? 'any' }
}

const bundlesShown = 3

function holds(bundle: ResourceSet, asked: ResourceSet): boolean {
  const hasGpus = (bundle['GPU'] ?? 0) + (bundle['gpuMemory'] ?? 0) > 0
  return Object.entries(asked).every(([name, needed]) => {
    if (needed <= amountOf(bundle, name)) return true
    // Which device it will be is not known yet, so neither are its type and its memory.
    if (name === 'gpuMemory' || acceleratorOf(name) !== undefined) return hasGpus
    return name === 'GPU' && needed <= 1 && bundle['GPU'] === undefined && hasGpus
  })
}
