import type { ByteReader, ByteWriter } from './bytes.ts'
import { ProtocolError } from './errors.ts'
import { clientIdBytes, objectIdBytes, type ClientId, type ObjectId } from './ids.ts'
import type { Codec } from './schema.ts'

/** What a value brings with it: known without decoding it, so that its holder can keep these alive. */
export interface Contents {
  /** ObjectRefs inside the value. */
  refs: readonly ObjectId[]
  /** Functions whose classes the value has instances of; they must be loaded before it is decoded. */
  classes: readonly ObjectId[]
}

/** A value that travels inside a message. */
export interface InlineValue extends Contents {
  kind: 'inline'
  /** True when the value is an error to throw. */
  isError: boolean
  format: number
  head: Uint8Array
  buffers: Uint8Array[]
}

/** A value that lies in the object store of the node that made it. */
export interface StoredValue extends Contents {
  kind: 'stored'
  isError: boolean
  /** Its name in the store. */
  name: string
  bytes: number
  /** Whose value it is, and the owner's number for the object; 0 when it is of none, or not known yet. */
  owner: ClientId
  sequence: number
}

export type WireValue = InlineValue | StoredValue

export const noContents: readonly ObjectId[] = Object.freeze([])

const flagStored = 1
const flagError = 2
const flagContents = 4
const flagBuffers = 8
const contentsMax = 100_000
const storedName = /^[0-9a-f]{16,64}$/

function writeIds(writer: ByteWriter, ids: readonly ObjectId[]): void {
  writer.u32(ids.length)
  for (const id of ids) writer.hex(id, objectIdBytes)
}

function readIds(reader: ByteReader): readonly ObjectId[] {
  const count = reader.u32()
  if (count === 0) return noContents
  if (count > contentsMax || count * objectIdBytes > reader.remaining) {
    throw new ProtocolError(`a value with ${count} references is over the limit`)
  }
  const ids: ObjectId[] = []
  for (let i = 0; i < count; i++) ids.push(reader.hex(objectIdBytes))
  return ids
}

/** Written by hand rather than by a schema: it is part of every task and every result. */
export const wireValue: Codec<WireValue> = {
  write(writer, value) {
    const hasContents = value.refs.length > 0 || value.classes.length > 0
    const flags = (value.isError ? flagError : 0) | (hasContents ? flagContents : 0)
    if (value.kind === 'stored') {
      writer.u8(flags | flagStored)
      writer.string(value.name)
      writer.f64(value.bytes)
      writer.hex(value.owner, clientIdBytes)
      writer.u48(value.sequence)
    } else {
      const hasBuffers = value.buffers.length > 0
      writer.u8(flags | (hasBuffers ? flagBuffers : 0))
      writer.u8(value.format)
      writer.bytes(value.head)
      if (hasBuffers) {
        writer.u32(value.buffers.length)
        for (const buffer of value.buffers) writer.bytes(buffer)
      }
    }
    if (hasContents) {
      writeIds(writer, value.refs)
      writeIds(writer, value.classes)
    }
  },
  read(reader) {
    const flags = reader.u8()
    const isError = (flags & flagError) !== 0
    if ((flags & flagStored) !== 0) {
      const name = reader.string(64)
      if (!storedName.test(name)) throw new ProtocolError('a stored value has a name that is not one of the store')
      const bytes = reader.f64()
      if (!Number.isSafeInteger(bytes) || bytes < 0)
        throw new ProtocolError(`a stored value cannot have ${bytes} bytes`)
      const owner = reader.hex(clientIdBytes)
      const sequence = reader.u48()
      const refs = (flags & flagContents) === 0 ? noContents : readIds(reader)
      const classes = (flags & flagContents) === 0 ? noContents : readIds(reader)
      return { kind: 'stored', isError, name, bytes, owner, sequence, refs, classes }
    }
    const format = reader.u8()
    const head = reader.bytes()
    const buffers: Uint8Array[] = []
    if ((flags & flagBuffers) !== 0) {
      const count = reader.u32()
      if (count > reader.remaining) throw new ProtocolError(`a value with ${count} buffers is over the limit`)
      for (let i = 0; i < count; i++) buffers.push(reader.bytes())
    }
    const refs = (flags & flagContents) === 0 ? noContents : readIds(reader)
    const classes = (flags & flagContents) === 0 ? noContents : readIds(reader)
    return { kind: 'inline', isError, format, head, buffers, refs, classes }
  },
}

/** True when the value brings nothing along that others count or keep: no refs, and nothing in a store. */
export function isPlain(value: WireValue): boolean {
  return value.kind === 'inline' && value.refs.length === 0
}

/** The bytes that a value takes in a message, about. */
export function wireBytes(value: WireValue): number {
  const contentsBytes = (value.refs.length + value.classes.length) * objectIdBytes
  if (value.kind === 'stored') return 96 + contentsBytes
  let bytes = 16 + value.head.length + contentsBytes
  for (const buffer of value.buffers) bytes += buffer.length + 4
  return bytes
}
