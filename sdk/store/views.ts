/** How to give back the memory under a buffer that is a view on a store's. */
const releases = new WeakMap<ArrayBufferLike, () => boolean>()
/** Values that have such a buffer inside. */
const buffers = new WeakMap<object, ArrayBufferLike>()

/**
 * The buffer shows a store's memory until `release` is called, or the engine finds that nothing looks at it.
 *
 * @param release false when the memory is not the buffer's any more
 */
export function addView(buffer: ArrayBuffer, release: () => boolean): void {
  releases.set(buffer, release)
}

/** A value that was read out of these bytes: all large buffers in it are parts of them. */
export function readFrom(value: unknown, bytes: Uint8Array): void {
  if (typeof value === 'object' && value !== null && releases.has(bytes.buffer)) buffers.set(value, bytes.buffer)
}

/** Gives back the memory under a value that {@link readFrom} knows, or a buffer in it. False when it has none. */
export function releaseView(value: object): boolean {
  const buffer = buffers.get(value) ?? (ArrayBuffer.isView(value) ? value.buffer : (value as ArrayBuffer))
  const release = releases.get(buffer)
  releases.delete(buffer)
  return release?.() === true
}
