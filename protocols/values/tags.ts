/** The first byte of every value in a head. */
export const tags = {
  undefined: 0,
  null: 1,
  false: 2,
  true: 3,
  /** One byte, 0 to 255. */
  byte: 4,
  int32: 5,
  float64: 6,
  /** Sign byte, length, magnitude in bytes, lowest first. */
  bigint: 7,
  /** Length, one byte per character. */
  latin1: 8,
  /** Length in characters, two bytes each: any text, lone surrogates too. */
  utf16: 9,
  /** Length, items. */
  array: 10,
  /** Length, count of items present, then index and item. */
  sparseArray: 11,
  /** Count, then key and value. */
  object: 12,
  nullPrototypeObject: 13,
  map: 14,
  set: 15,
  date: 16,
  regexp: 17,
  /** Class name, flags, then what the flags say. */
  error: 18,
  arrayBuffer: 19,
  /** Kind, offset, length (in elements), its buffer. */
  view: 20,
  nodeBuffer: 21,
  /** A primitive in an object. */
  boxed: 22,
  registeredSymbol: 23,
  url: 24,
  /** Reviver, data, what else follows, contents, fields. */
  extension: 25,
  /** The object with this number: objects are numbered as they begin. */
  reference: 26,
  /** Name, message, stack. */
  domException: 27,
  /** An array or a sparse array, then its fields that are no items. */
  fieldedArray: 28,
} as const

export const errorFlags = { message: 1, stack: 2, cause: 4, errors: 8 } as const

export const extensionParts = { fields: 1, contents: 2 } as const

/** Bytes of buffers follow in the head, or lie beside it. */
export const payloads = { inline: 0, beside: 1 } as const

/** Views by number; a number is never given to another kind. */
export const viewKinds = [
  DataView,
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  Float16Array,
] as const

/** Larger byte payloads lie beside the head. */
export const inlinePayloadBytesMax = 4096

/** Objects in objects. Deeper is refused, so that neither side runs out of stack, which a process that has just begun does first. */
export const depthMax = 1000
