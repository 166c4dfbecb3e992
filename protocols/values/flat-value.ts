import { ProtocolError } from '../errors.ts'
import { blockHeaderBytes, pageBytes } from '../store-segment.ts'
import { valueFormats, type EncodedValue } from './value.ts'

/**
 * An encoded value as one run of bytes, as it lies in a store: a header of 16 bytes (magic, format, head length, count of
 * buffers), offset and length of each buffer, the head, and the buffers, each at a multiple of 64 bytes. Large ones begin
 * with a page of the store, where the value itself begins behind the header of its block: a copy between places that are
 * a few bytes apart in their pages takes three times as long, and what is copied from begins with a page as a rule.
 */
const magic = 0x6c616853
const headerBytes = 16
const entryBytes = 16
const alignment = 64
const largeBytesMin = 64 * 1024

/** The length of the flat form, in bytes. */
export function encodedByteLength(encoded: EncodedValue): number {
  let at = headerBytes + encoded.buffers.length * entryBytes + encoded.head.length
  for (const buffer of encoded.buffers) at = placeOf(buffer, at) + buffer.length
  return at
}

/** The flat form, in parts to be written one after the other. The buffers among them are those of the value, not copies. */
export function flattenValue(encoded: EncodedValue): Uint8Array[] {
  const { head, buffers } = encoded
  const start = Buffer.alloc(headerBytes + buffers.length * entryBytes)
  start.writeUInt32LE(magic, 0)
  start.writeUInt32LE(encoded.format, 4)
  start.writeUInt32LE(head.length, 8)
  start.writeUInt32LE(buffers.length, 12)
  const parts: Uint8Array[] = [start, head]
  let at = start.length + head.length
  for (const [i, buffer] of buffers.entries()) {
    const offset = placeOf(buffer, at)
    if (offset > at) parts.push(Buffer.alloc(offset - at))
    start.writeBigUInt64LE(BigInt(offset), headerBytes + i * entryBytes)
    start.writeBigUInt64LE(BigInt(buffer.length), headerBytes + i * entryBytes + 8)
    parts.push(buffer)
    at = offset + buffer.length
  }
  return parts
}

/** A part of the bytes, as the buffer that the value is to have. */
export type PartOf = (offset: number, length: number) => Uint8Array

/**
 * The value in its flat form. Its head is a view on the bytes, its buffers are as `partOf` gives them, by default views as
 * well. Throws ProtocolError when the bytes are something else.
 */
export function unflattenValue(
  bytes: Uint8Array,
  partOf: PartOf = (offset, length) => bytes.subarray(offset, offset + length),
): EncodedValue {
  const view = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.length < headerBytes || view.readUInt32LE(0) !== magic)
    throw new ProtocolError('these bytes are no stored value')
  const format = view.readUInt32LE(4)
  if (format !== valueFormats.shoal) throw new ProtocolError(`a stored value is in the unknown format ${format}`)
  const headLength = view.readUInt32LE(8)
  const count = view.readUInt32LE(12)
  const headAt = headerBytes + count * entryBytes
  if (headAt + headLength > view.length) throw new ProtocolError('a stored value is cut short')
  const buffers: Uint8Array[] = []
  for (let i = 0; i < count; i++) {
    const offset = Number(view.readBigUInt64LE(headerBytes + i * entryBytes))
    const length = Number(view.readBigUInt64LE(headerBytes + i * entryBytes + 8))
    if (offset < headAt + headLength || offset + length > view.length) {
      throw new ProtocolError('a stored value has a buffer outside of its bytes')
    }
    buffers.push(partOf(offset, length))
  }
  return { format, head: view.subarray(headAt, headAt + headLength), buffers }
}

/** Where a buffer begins when everything before it ends at `at`. */
function placeOf({ length }: Uint8Array, at: number): number {
  if (length < largeBytesMin) return Math.ceil(at / alignment) * alignment
  return Math.ceil((at + blockHeaderBytes) / pageBytes) * pageBytes - blockHeaderBytes
}
