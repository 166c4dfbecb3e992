/**
 * The value codec: turns JavaScript values into bytes that another process, of any language in time, can read. It knows
 * what structured clone knows, keeps shared references and cycles, leaves large buffers out of band so that nobody copies
 * them, and asks hooks about everything else (refs, remote functions, users' classes).
 *
 * @example
 * const encoded = encodeValue({ name: 'shoal', data: new Float64Array(1e6) })
 * const value = decodeValue(unflattenValue(Buffer.concat(flattenValue(encoded))))
 */
export { decodeValue } from './decode.ts'
export { encodeValue } from './encode.ts'
export { encodedByteLength, flattenValue, unflattenValue } from './flat-value.ts'
export type { DecodeHooks, EncodedValue, EncodeHooks, Extension } from './value.ts'
