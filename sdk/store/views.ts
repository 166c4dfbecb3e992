/** Gives back the memory under a buffer. False when it is not the buffer's any more. */
type Release = () => boolean

/**
 * Buffers that came in one value and are views on a store's memory. They show it until they are released, all of them, or the
 * engine finds that nothing looks at them.
 */
export class ViewGroup {
  #releases: Release[] = []

  add(buffer: ArrayBuffer, release: Release): void {
    this.#releases.push(release)
    groups.set(buffer, this)
  }

  /** The value that the buffers came in. */
  cameIn(value: unknown): void {
    if (this.#releases.length > 0 && typeof value === 'object' && value !== null) groups.set(value, this)
  }

  /** True when memory was given back. */
  release(): boolean {
    const releases = this.#releases
    this.#releases = []
    return releases.map((release) => release()).includes(true)
  }
}

/** By buffers, and by values that have them inside. */
const groups = new WeakMap<object, ViewGroup>()

/** Gives back the memory under a value, or under a buffer in it and all others that came with it. False when it has none. */
export function releaseView(value: object): boolean {
  const group = groups.get(value) ?? (ArrayBuffer.isView(value) ? groups.get(value.buffer) : undefined)
  return group?.release() === true
}
