/** A map that forgets its oldest entry when it has too many. */
export class BoundedMap<K, V> {
  readonly #entries = new Map<K, V>()
  readonly #sizeMax: number

  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax
  }

  get(key: K): V | undefined {
    return this.#entries.get(key)
  }

  has(key: K): boolean {
    return this.#entries.has(key)
  }

  /** Gives the value that was forgotten, if one was. */
  set(key: K, value: V): V | undefined {
    this.#entries.set(key, value)
    if (this.#entries.size <= this.#sizeMax) return undefined
    const [oldest] = this.#entries as Iterable<[K, V]>
    if (oldest === undefined) return undefined
    this.#entries.delete(oldest[0])
    return oldest[1]
  }

  delete(key: K): void {
    this.#entries.delete(key)
  }
}
