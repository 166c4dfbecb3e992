/**
 * What a value looks like between two processes: a small `head` that describes it, and the large buffers beside it,
 * untouched, so that a reader can look at them without copying.
 */
export interface EncodedValue {
  /** Tells how `head` is to be read; see {@link valueFormats}. */
  format: number
  head: Uint8Array
  /** Out-of-band buffers, referred to by position from `head`. They are views on the caller's memory, not copies. */
  buffers: Uint8Array[]
}

/** Payload formats. Other languages will add theirs; readers refuse what they do not know. */
export const valueFormats = { shoal: 1 } as const

/** How an object that the codec does not know itself travels. */
export interface Extension {
  /** Which reviver rebuilds it: `ref`, `function`, `instance` ... */
  tag: string
  /** What the reviver gets: any encodable value. */
  data: unknown
  /** What else belongs into it, for `fill`: after the object exists, so that it may be part of a cycle. */
  contents?: unknown
  /** Own fields that are set after the object exists, so that it may be part of a cycle. */
  fields?: Record<string, unknown>
}

/** The codec asks these about functions and about objects whose prototype it does not know. */
export interface EncodeHooks {
  /**
   * Returns how to encode `value`, or undefined when it cannot travel.
   * `path` is the way to it from the root, such as `.pool[0]`.
   */
  extend?(value: object, path: () => string): Extension | undefined
}

export interface DecodeHooks {
  /** Builds the object of an {@link Extension}; its fields are set afterwards by the codec. */
  revive?(tag: string, data: unknown): object
  /** Puts the contents of an {@link Extension} into its object. */
  fill?(value: object, contents: unknown): void
}
