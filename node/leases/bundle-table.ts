import type { ResourceSet } from '../../protocols/resources.ts'
import { ResourceLedger, type Allocation } from '../resources/ledger.ts'

/** What a bundle of a placement group has, and who of those in it holds how much of it. */
export class BundleLedger extends ResourceLedger {
  readonly #held = new Set<Allocation>()

  /** @param allocation what the node has reserved for the bundle */
  constructor({ resources, devices }: Allocation) {
    super(resources, devices)
  }

  /** True when nobody holds anything of it, not even a worker for nothing. */
  get isUnused(): boolean {
    return this.#held.size === 0
  }

  override tryAcquire(request: ResourceSet): Allocation | undefined {
    const allocation = super.tryAcquire(request)
    if (allocation !== undefined) this.#held.add(allocation)
    return allocation
  }

  override release(allocation: Allocation): void {
    if (this.#held.delete(allocation)) super.release(allocation)
  }
}

/** A bundle that is reserved on this node. */
export interface Bundle {
  readonly group: string
  readonly index: number
  readonly tryNumber: number
  readonly allocation: Allocation
  readonly ledger: BundleLedger
  /** The group has it for good: nobody takes it back for the sake of other bundles. */
  isClaimed: boolean
  /** When it was reserved, or claimed last. */
  sinceMs: number
}

/** The bundles of this node by group, and those whose workers are still ending. */
export class BundleTable {
  readonly #byGroup = new Map<string, Map<number, Bundle>>()
  readonly #ending = new Set<Bundle>()
  #count = 0

  /** Those that can be used. */
  get count(): number {
    return this.#count
  }

  get(group: string, index: number): Bundle | undefined {
    return this.#byGroup.get(group)?.get(index)
  }

  /** The bundles of a group, by their numbers. */
  of(group: string): Bundle[] {
    return [...(this.#byGroup.get(group)?.values() ?? [])]
  }

  *all(): Generator<Bundle> {
    for (const bundles of this.#byGroup.values()) yield* bundles.values()
  }

  groups(): string[] {
    return [...this.#byGroup.keys()]
  }

  add(bundle: Bundle): void {
    let bundles = this.#byGroup.get(bundle.group)
    if (bundles === undefined) this.#byGroup.set(bundle.group, (bundles = new Map()))
    bundles.set(bundle.index, bundle)
    this.#count++
  }

  /** Nothing new begins in it. It keeps its resources until {@link takeEnded} gives it. */
  end(bundle: Bundle): void {
    const bundles = this.#byGroup.get(bundle.group)
    if (bundles?.get(bundle.index) !== bundle) return
    bundles.delete(bundle.index)
    if (bundles.size === 0) this.#byGroup.delete(bundle.group)
    this.#count--
    this.#ending.add(bundle)
  }

  /** Takes out those that have ended and hold nothing any more. */
  takeEnded(): Bundle[] {
    if (this.#ending.size === 0) return []
    const ended = [...this.#ending].filter(({ ledger }) => ledger.isUnused)
    for (const bundle of ended) this.#ending.delete(bundle)
    return ended
  }
}
