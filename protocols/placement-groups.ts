import { InvalidArgumentError, ProtocolError } from './errors.ts'
import type { NodeId } from './ids.ts'
import { checkResources, formatResources, type ResourceSet } from './resources.ts'
import { checkLabelSelector, formatStrategy, type LabelSelector } from './scheduling.ts'
import { json, list, oneOf, type Codec } from './schema.ts'

/**
 * How the bundles of a group lie to each other. `PACK`: on as few nodes as possible; `SPREAD`: on as many as possible;
 * `STRICT_PACK`: on one node or not at all; `STRICT_SPREAD`: each on a node of its own, or not at all.
 */
export type PlacementStrategy = 'PACK' | 'SPREAD' | 'STRICT_PACK' | 'STRICT_SPREAD'

/** 22 bytes as 44 hex digits: the ClientId of the process that made the group, and a number of its own. */
export type GroupId = string

/** What is reserved on one node, as one piece. */
export interface BundleSpec {
  readonly resources: ResourceSet
  /** The node must have such labels. */
  readonly labels: LabelSelector
}

/** How a group stands. `pending`: some of its bundles have no place now. `infeasible`: as the mesh is they never will. */
export type GroupState = 'pending' | 'ready' | 'infeasible' | 'removed' | 'refused'

/** A group for people to read. */
export interface GroupReport {
  readonly id: GroupId
  readonly name: string
  readonly strategy: PlacementStrategy
  readonly state: GroupState
  /** Why it is not ready; else empty. */
  readonly reason: string
  readonly ageMs: number
  readonly bundles: readonly (BundleSpec & {
    /** Where it is reserved; absent while it is nowhere. */
    readonly node?: NodeId
  })[]
}

export const placementStrategies = ['PACK', 'SPREAD', 'STRICT_PACK', 'STRICT_SPREAD'] as const
/** Bundles that one group may have. */
export const bundlesMax = 1000
/** Groups of one node's programs that may be there at a time. */
export const groupsMax = 10_000
/** What the bundles of a group take in a message. */
const bundleBytesMax = 256 * 1024
const wrongCase: ReadonlyMap<string, string> = new Map([
  ['cpu', 'CPU'],
  ['gpu', 'GPU'],
  ['memory', 'memory'],
  ['gpumemory', 'gpuMemory'],
])

export function isPlacementStrategy(value: unknown): value is PlacementStrategy {
  return placementStrategies.some((each) => each === value)
}

/**
 * Checks bundles as users write them: resources by name, and `labels` for the nodes that may have it. Throws
 * InvalidArgumentError that names the bundle.
 *
 * @example
 * checkBundles([{ CPU: 2 }, { CPU: 1, GPU: 1, labels: { zone: 'lab1' } }])
 */
export function checkBundles(input: unknown): BundleSpec[] {
  if (!Array.isArray(input) || input.length === 0) {
    throw new InvalidArgumentError('bundles: expected a list of at least one bundle, such as [{ CPU: 1 }]', { input })
  }
  if (input.length > bundlesMax) {
    throw new InvalidArgumentError(`bundles: ${input.length} of them; at most ${bundlesMax} are possible`, {
      count: input.length,
    })
  }
  const bundles = input.map((bundle: unknown, index) => checkBundle(bundle, index))
  const bytes = JSON.stringify(bundles).length
  if (bytes > bundleBytesMax) {
    throw new InvalidArgumentError(`bundles: described in ${bytes} bytes; at most ${bundleBytesMax} are possible`, {
      bytes,
    })
  }
  return bundles
}

function checkBundle(bundle: unknown, index: number): BundleSpec {
  const what = `bundle ${index}`
  if (typeof bundle !== 'object' || bundle === null || Array.isArray(bundle)) {
    throw new InvalidArgumentError(`${what}: expected resources by name, such as { CPU: 1, GPU: 1 }`, { index })
  }
  const { labels = {}, ...amounts } = bundle as Record<string, unknown>
  for (const name of Object.keys(amounts)) {
    const right = wrongCase.get(name.toLowerCase())
    if (right !== undefined && right !== name) {
      throw new InvalidArgumentError(`${what}: '${name}' is written ${right}`, { index, name })
    }
  }
  const resources = checkResources(amounts as Record<string, number>, what)
  if (Object.keys(resources).length === 0) {
    throw new InvalidArgumentError(`${what} asks for nothing: it needs an amount above 0, such as { CPU: 1 }`, {
      index,
    })
  }
  return { resources, labels: checkLabelSelector(labels, `${what}: labels`) }
}

/** A bundle for a person to read: "CPU 2, GPU 1 on nodes with zone=lab1". */
export function formatBundle({ resources, labels }: BundleSpec): string {
  const asked = formatResources(resources)
  return Object.keys(labels).length === 0 ? asked : `${asked} ${formatStrategy({ kind: 'labels', selector: labels })}`
}

export const placementStrategy = oneOf(...placementStrategies)

/** What a bundle holds, on the wire. Reading throws ProtocolError for what cannot be. */
export const bundleResources: Codec<ResourceSet> = {
  write: (writer, resources) => json.write(writer, resources),
  read: (reader) => checkedResources(json.read(reader)),
}

/** One bundle on the wire. Reading throws ProtocolError for what cannot be. */
export const bundleSpec: Codec<BundleSpec> = {
  write: (writer, bundle) => json.write(writer, [bundle.resources, bundle.labels]),
  read(reader) {
    const [resources, labels] = pair(json.read(reader))
    try {
      return { resources: checkedResources(resources), labels: checkLabelSelector(labels) }
    } catch (error) {
      throw error instanceof ProtocolError ? error : new ProtocolError((error as Error).message)
    }
  },
}

export const bundleSpecs = list(bundleSpec, bundlesMax)

function checkedResources(input: unknown): ResourceSet {
  let resources: ResourceSet
  try {
    resources = checkResources(input as Record<string, number>, 'a bundle')
  } catch (error) {
    throw new ProtocolError((error as Error).message)
  }
  if (Object.keys(resources).length === 0) throw new ProtocolError('a bundle asks for nothing')
  return resources
}

function pair(value: unknown): [unknown, unknown] {
  if (Array.isArray(value) && value.length === 2) return value as [unknown, unknown]
  throw new ProtocolError('a bundle is not its resources and its labels')
}
