import { InvalidArgumentError, ProtocolError } from '../../protocols/errors.ts'
import { bundlesMax, type BundleSpec, type GroupId, type PlacementStrategy } from '../../protocols/placement-groups.ts'
import { leaseTerms, type LeaseTerms } from '../tasks/lease-terms.ts'
import { bundleOf, PlacementGroup } from './placement-group.ts'

/** A group in few words, for it goes with every task: bundles that are alike and follow each other are said once. */
type Description = readonly [
  captures: boolean,
  id: GroupId,
  name: string,
  strategy: PlacementStrategy,
  bundles: readonly (readonly [count: number, bundle: BundleSpec])[],
]

/** What a task is told of the placement group that it runs in. */
export function groupText({ id, name, strategy, bundles }: PlacementGroup, captures: boolean): string {
  const rows: [number, BundleSpec][] = []
  let before = ''
  for (const bundle of bundles) {
    const text = JSON.stringify(bundle)
    const last = rows.at(-1)
    if (last !== undefined && text === before) last[0] += 1
    else rows.push([1, bundle])
    before = text
  }
  return JSON.stringify([captures, id, name, strategy, rows] satisfies Description)
}

/** The placement group that a task runs in, as its code knows it. */
export class OwnGroup {
  readonly group: PlacementGroup
  /** What it submits goes into the group, too. */
  readonly captures: boolean
  readonly #text: string
  readonly #terms = new WeakMap<LeaseTerms, LeaseTerms>()

  /** @param text as `groupText` makes it. Throws ProtocolError when it is something else. */
  constructor(text: string) {
    this.#text = text
    try {
      const [captures, id, name, strategy, rows] = JSON.parse(text) as Description
      const count = rows.reduce((sum, [each]) => sum + Math.max(1, each), 0)
      if (!(count <= bundlesMax))
        throw new ProtocolError(`it has ${count} bundles, and at most ${bundlesMax} are possible`)
      const bundles = rows.flatMap(([length, bundle]) => Array.from({ length }, () => bundle))
      this.captures = captures
      this.group = new PlacementGroup(id, { name, strategy, bundles })
    } catch (error) {
      throw new ProtocolError(`a task was told of a placement group that is none: ${(error as Error).message}`)
    }
  }

  /** Terms of work that says nothing of where it goes. Throws InvalidArgumentError when it fits no bundle. */
  termsFor(terms: LeaseTerms): LeaseTerms {
    let own = this.#terms.get(terms)
    if (own === undefined) {
      own = leaseTerms(terms.resources, terms.envVars, this.#placeOf(terms), terms.isRetriable, this.#text)
      this.#terms.set(terms, own)
    }
    return own
  }

  #placeOf({ resources }: LeaseTerms): ReturnType<typeof bundleOf> {
    try {
      return bundleOf({ placementGroup: this.group }, resources)
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error
      const message = `${error.message}; it goes into this group since what starts it has captureChildTasks: placementGroup: null lets it run outside`
      throw new InvalidArgumentError(message, error.details)
    }
  }
}

let current: (() => OwnGroup | undefined) | undefined

/** @internal Says how the group of this process's running task is found. */
export function setOwnGroup(find: () => OwnGroup | undefined): void {
  current = find
}

/** @internal The same options, but for where it goes when they do not say, in a task that captures what it starts. */
export function inOwnGroup<T extends { readonly terms: LeaseTerms; readonly isFree: boolean }>(options: T): T {
  const own = options.isFree ? current?.() : undefined
  return own?.captures === true ? { ...options, terms: own.termsFor(options.terms) } : options
}

/**
 * The placement group that the task, or the actor, runs in in which this is called; undefined when it runs in none, and in a
 * program.
 *
 * @example
 * const train = remote(() => currentPlacementGroup()?.bundles.length)
 * console.log(await get(train.options({ placementGroup: group }).remote())) // 2
 */
export function currentPlacementGroup(): PlacementGroup | undefined {
  return current?.()?.group
}
