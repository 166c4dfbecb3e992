import type { ObjectRef } from './object-ref.ts'

/**
 * Refs to one object that are known without being kept alive, for reports: that one is no more shows once it has been
 * collected. As a rule there is one, and there are very many objects.
 */
export type WeakRefs = WeakRef<ObjectRef> | WeakRefList | undefined

/** The same one again counts once. */
export function withRef(known: WeakRefs, ref: ObjectRef): WeakRefs {
  if (known === undefined) return new WeakRef(ref)
  if (known instanceof WeakRefList) {
    known.add(ref)
    return known
  }
  const before = known.deref()
  if (before === ref) return known
  return before === undefined ? new WeakRef(ref) : new WeakRefList([known, new WeakRef(ref)])
}

/** How many there are. */
export function countOf(known: WeakRefs): number {
  if (known === undefined) return 0
  return known instanceof WeakRefList ? known.sweep() : Number(known.deref() !== undefined)
}

/** So many are kept before those that are no more are looked for. */
const sweepAtMin = 8

class WeakRefList {
  #refs: WeakRef<ObjectRef>[]
  #sweepAt = sweepAtMin

  constructor(refs: WeakRef<ObjectRef>[]) {
    this.#refs = refs
  }

  add(ref: ObjectRef): void {
    if (this.#refs.at(-1)?.deref() === ref) return
    this.#refs.push(new WeakRef(ref))
    if (this.#refs.length >= this.#sweepAt) this.#sweepAt = Math.max(sweepAtMin, 2 * this.sweep())
  }

  /** How many are left, each counted once. */
  sweep(): number {
    const live = new Set<ObjectRef>()
    this.#refs = this.#refs.filter((weak) => {
      const ref = weak.deref()
      if (ref === undefined || live.has(ref)) return false
      live.add(ref)
      return true
    })
    return live.size
  }
}
