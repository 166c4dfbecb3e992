import type { ResourceSet } from '../../protocols/resources.ts'
import { formatResources } from '../../protocols/resources.ts'
import type { Allocation, ResourceLedger } from '../resources/ledger.ts'
import { BundleLedger, BundleTable, type Bundle } from './bundle-table.ts'
import type { BundleEvent, LeaseAction } from './lease-events.ts'
import type { LeaseRequest } from './lease-records.ts'

/** What the bundles work on, and whom they tell. */
export interface HeldBundlesParts {
  readonly ledger: ResourceLedger
  /** Why nothing of this is reserved now, whatever is free; undefined when it may be. */
  whyNone(resources: ResourceSet): string | undefined
  /** What runs in the bundle, or is about to, ends; what waits for it finds no place here. */
  onEnded(bundle: Bundle, reason: string, isRemoved: boolean): void
  emit(action: LeaseAction): void
}

/** A reservation that nobody has claimed by then is given up, */
const claimMs = 10_000
/** and so is a bundle whose group has not been heard of for so long. */
const silentMs = 30_000

/**
 * The bundles of placement groups that are reserved on this node. The node is the authority: it reserves all that it is asked
 * for, or refuses. Bundles are named by group, number and try; the same said twice changes nothing.
 */
export class HeldBundles {
  readonly table = new BundleTable()
  readonly #parts: HeldBundlesParts
  readonly #own: readonly ResourceLedger[]

  constructor(parts: HeldBundlesParts) {
    this.#parts = parts
    this.#own = [parts.ledger]
  }

  on(event: BundleEvent, nowMs: number): void {
    switch (event.type) {
      case 'bundlesReserve':
        return this.#reserve(event, nowMs)
      case 'bundlesClaim':
        return this.#claim(event, nowMs)
      case 'bundlesRelease':
        for (const { index, tryNumber } of event.bundles) {
          const bundle = this.table.get(event.group, index)
          if (bundle !== undefined && bundle.tryNumber <= tryNumber) this.#end(bundle, event.reason, event.isRemoved)
        }
        return
      case 'groupsGone':
        for (const group of this.table.groups()) {
          if (!group.startsWith(event.prefix)) continue
          for (const bundle of this.table.of(group)) this.#end(bundle, event.reason, true)
        }
        return
      case 'bundlesTick':
        return this.#giveUpUnclaimed(nowMs)
    }
  }

  /** The ledgers from which a request may take: that of the node, or those of bundles. None: it is for a bundle that is not here. */
  ledgersFor({ bundle }: Pick<LeaseRequest, 'bundle'>): readonly ResourceLedger[] {
    if (bundle === undefined) return this.#own
    if (bundle.index === 'any') return this.table.of(bundle.group).map(({ ledger }) => ledger)
    const one = this.table.get(bundle.group, bundle.index)
    return one === undefined ? [] : [one.ledger]
  }

  /** What bundles that their groups have for good hold of a ledger: only the node's own has any. */
  claimedFrom(ledger: ResourceLedger): Allocation[] {
    if (ledger !== this.#parts.ledger) return []
    return Array.from(
      this.table.all().filter(({ isClaimed }) => isClaimed),
      ({ allocation }) => allocation,
    )
  }

  /** Gives back what ended bundles had, as soon as their workers are gone. True when something has become free. */
  settle(): boolean {
    const ended = this.table.takeEnded()
    for (const { allocation } of ended) this.#parts.ledger.release(allocation)
    return ended.length > 0
  }

  /** The node is to end: what nobody uses goes elsewhere, and the rest when it is not used any more. */
  leaveUnused(reason: string): void {
    for (const bundle of [...this.table.all()]) {
      if (!bundle.ledger.isUnused) continue
      this.#end(bundle, reason, false)
      const { group, index, tryNumber } = bundle
      this.#parts.emit({ type: 'bundlesAnswer', group, bundles: [{ index, tryNumber }], outcome: 'lost', reason })
    }
    this.settle()
  }

  #reserve({ group, tryNumber, bundles }: BundleEvent & { type: 'bundlesReserve' }, nowMs: number): void {
    const { ledger, whyNone, emit } = this.#parts
    const keys = bundles.map(({ index }) => ({ index, tryNumber }))
    const held = bundles.map(({ index }) => this.table.get(group, index))
    // Of a later try: this comes too late.
    if (held.some((bundle) => bundle !== undefined && bundle.tryNumber > tryNumber)) return
    const answer = { type: 'bundlesAnswer', group, bundles: keys } as const
    if (held.every((bundle) => bundle?.tryNumber === tryNumber)) {
      emit({ ...answer, outcome: 'reserved', reason: '' })
      return
    }
    // Whoever asks again has no use for what he had.
    for (const bundle of held) if (bundle !== undefined) this.#end(bundle, 'its group has asked for it anew', false)
    this.settle()
    const taken: Bundle[] = []
    for (const { index, resources } of bundles) {
      const allocation = whyNone(resources) === undefined ? ledger.tryAcquire(resources) : undefined
      if (allocation === undefined) {
        const reason = this.#whyNot(index, resources)
        for (const bundle of taken) ledger.release(bundle.allocation)
        emit({ ...answer, outcome: 'refused', reason })
        return
      }
      const state = { isClaimed: false, sinceMs: nowMs }
      taken.push({ group, index, tryNumber, allocation, ledger: new BundleLedger(allocation), ...state })
    }
    for (const bundle of taken) this.table.add(bundle)
    emit({ ...answer, outcome: 'reserved', reason: '' })
  }

  #whyNot(index: number, resources: ResourceSet): string {
    const { ledger, whyNone } = this.#parts
    const name = ledger.shortOf(resources)[0]
    const use = whyNone(resources) ?? (name === undefined ? 'it has no room' : `${name}: ${ledger.describeUse(name)}`)
    return `bundle ${index} wants ${formatResources(resources)}; ${use}`
  }

  #claim({ group, bundles }: BundleEvent & { type: 'bundlesClaim' }, nowMs: number): void {
    const lost = bundles.filter(({ index, tryNumber }) => {
      const bundle = this.table.get(group, index)
      if (bundle?.tryNumber !== tryNumber) return bundle === undefined || bundle.tryNumber < tryNumber
      bundle.isClaimed = true
      bundle.sinceMs = nowMs
      return false
    })
    if (lost.length === 0) return
    const reason = 'the node does not have them (any more)'
    this.#parts.emit({ type: 'bundlesAnswer', group, bundles: lost, outcome: 'lost', reason })
  }

  #giveUpUnclaimed(nowMs: number): void {
    for (const bundle of [...this.table.all()]) {
      if (nowMs - bundle.sinceMs < (bundle.isClaimed ? silentMs : claimMs)) continue
      this.#end(bundle, 'nothing was heard of its group for long', false)
    }
  }

  #end(bundle: Bundle, reason: string, isRemoved: boolean): void {
    this.table.end(bundle)
    this.#parts.onEnded(bundle, reason, isRemoved)
  }
}
