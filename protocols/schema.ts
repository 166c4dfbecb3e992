import type { ByteReader, ByteWriter } from './bytes.ts'
import { clip } from './clip.ts'
import { ProtocolError } from './errors.ts'

/** How one kind of value is written to and read from the wire. Readers check every limit before they allocate. */
export interface Codec<T> {
  write(writer: ByteWriter, value: T): void
  read(reader: ByteReader): T
}

export type CodecType<C> = C extends Codec<infer T> ? T : never

export const u32: Codec<number> = { write: (w, v) => w.u32(v), read: (r) => r.u32() }
export const u48: Codec<number> = { write: (w, v) => w.u48(v), read: (r) => r.u48() }
export const f64: Codec<number> = { write: (w, v) => w.f64(v), read: (r) => r.f64() }
export const bool: Codec<boolean> = { write: (w, v) => w.u8(v ? 1 : 0), read: (r) => r.u8() === 1 }
export const bytes: Codec<Uint8Array> = { write: (w, v) => w.bytes(v), read: (r) => r.bytes() }

export function string(bytesMax: number): Codec<string> {
  return { write: (w, v) => w.string(v), read: (r) => r.string(bytesMax) }
}

/** A text for people to read: one that is too long is cut off where it is written, so that no reader refuses it. */
export function shownText(bytesMax: number): Codec<string> {
  return { write: (w, v) => w.string(clip(v, bytesMax)), read: (r) => r.string(bytesMax) }
}

/** Fixed-length bytes that are a lower-case hex string in memory. */
export function hex(byteCount: number): Codec<string> {
  return { write: (w, v) => w.hex(v, byteCount), read: (r) => r.hex(byteCount) }
}

export function list<T>(item: Codec<T>, countMax: number): Codec<T[]> {
  return {
    write(writer, values) {
      writer.u32(values.length)
      for (const value of values) item.write(writer, value)
    },
    read(reader) {
      const count = reader.u32()
      // Every item takes at least one byte, so a count above what is left cannot be true.
      if (count > countMax || count > reader.remaining) throw new ProtocolError(`a list of ${count} is over its limit`)
      const values: T[] = []
      for (let i = 0; i < count; i++) values.push(item.read(reader))
      return values
    },
  }
}

/** The most bytes of a name in a {@link map}. */
export const mapKeyBytesMax = 1024

export function map<T>(value: Codec<T>, countMax: number): Codec<Record<string, T>> {
  const entries = list(
    {
      write(writer: ByteWriter, [key, item]: [string, T]) {
        writer.string(key)
        value.write(writer, item)
      },
      read: (reader: ByteReader): [string, T] => [reader.string(mapKeyBytesMax), value.read(reader)],
    },
    countMax,
  )
  return {
    write: (writer, record) => entries.write(writer, Object.entries(record)),
    read: (reader) => Object.fromEntries(entries.read(reader)),
  }
}

export function oneOf<const T extends string>(...names: T[]): Codec<T> {
  return {
    write: (writer, value) => writer.u8(names.indexOf(value)),
    read(reader) {
      const name = names[reader.u8()]
      if (name === undefined) throw new ProtocolError(`a choice is none of ${names.join(', ')}`)
      return name
    },
  }
}

/** Any plain JSON data: for reports that people read, never for what is frequent. */
export const json: Codec<unknown> = {
  write: (writer, value) => writer.string(JSON.stringify(value)),
  read(reader) {
    const text = reader.string(16 * 1024 * 1024)
    try {
      return JSON.parse(text)
    } catch {
      throw new ProtocolError('a report is not valid JSON')
    }
  },
}

type Fields = Record<string, Codec<never>>
type Struct<F> = { [K in keyof F]: CodecType<F[K]> }

export function struct<F extends { [K in keyof F]: Codec<never> | Codec<unknown> }>(fields: F): Codec<Struct<F>> {
  const entries = Object.entries(fields as Fields)
  return {
    write(writer, value) {
      for (const [name, codec] of entries) codec.write(writer, value[name as keyof F] as never)
    },
    read(reader) {
      const value: Record<string, unknown> = {}
      for (const [name, codec] of entries) value[name] = codec.read(reader)
      return value as Struct<F>
    },
  }
}
