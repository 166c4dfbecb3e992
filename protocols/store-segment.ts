import { InvalidArgumentError } from './errors.ts'
import type { ClientId } from './ids.ts'

/**
 * How the object store lies in shared memory: what the node writes and every process of the machine reads. First a page with
 * a mark, then a table of pins for each client, then blocks. A block is a header and a value, and begins at a page.
 *
 * Reading takes no message: a process that knows where a value lies writes the block into its table of pins and then looks
 * at the header. The node that wants the memory back clears the header first and then looks at the tables. Both do so by
 * atomic operations, so at least one of them sees the other.
 *
 * A process may look at values long after it has ended its connection to the node. The last thing that it does with the
 * memory of a connection is to say so behind its pins. The node clears a table when it gives it out.
 */
export const pageBytes = 4096

const pinTableBytes = 4 * 4096
/** Pins of one client: 32-bit numbers of blocks, 0 for none. */
export const pinsPerClient = 4095
/** Tables that there are; a client that gets none copies what it reads. */
export const pinTablesMax = 1023

/** Where blocks begin. */
export const blocksStart = 16 * 1024 * 1024

/** A header: generation, used, length of the name in bytes (32 bits each, 4 bytes free), bytes of the value (64), name. */
export const blockHeaderBytes = 64
export const headerAt = { generation: 0, used: 4, nameLength: 8, bytes: 16, name: 24 } as const
const nameBytesMax = 32

/** What a client needs to know to read a value that lies in memory. */
export interface BlockPlace {
  /** Of the block, from the beginning of the segment: a multiple of `pageBytes`. */
  readonly offset: number
  /** Never 0, and another one for every value: a block that has been used again is recognised. */
  readonly generation: number
}

/** The bytes that a value takes in the segment. */
export function blockBytesOf(valueBytes: number): number {
  return Math.ceil((blockHeaderBytes + valueBytes) / pageBytes) * pageBytes
}

/** Where the pins of a table begin. */
export function pinTableAt(table: number): number {
  return pageBytes + table * pinTableBytes
}

/** Where the word behind the pins of a table is: 0, or `pinsEndMark` of the client that has the table. */
export function pinsEndAt(table: number): number {
  return pinTableAt(table) + pinsPerClient * 4
}

/**
 * What a client leaves behind its pins when it neither reads nor writes any more: its own number, and never 0, so that it says
 * nothing about another client that has the table by then.
 */
export function pinsEndMark(client: ClientId): number {
  return (Number.parseInt(client.slice(-8), 16) + 1) | 0
}

/** A block as a table of pins names it. */
export function pinOf(offset: number): number {
  return offset / pageBytes
}

/** Where the block of a pin begins. */
export function offsetOf(pin: number): number {
  return pin * pageBytes
}

/** The segment's size for so many bytes of values, with room for headers and for what is lost at the ends of pages. */
export function segmentBytesOf(bytesMax: number): number {
  return blocksStart + blockBytesOf(bytesMax + Math.ceil(bytesMax / 16) + 4 * 1024 * 1024)
}

/** Writes all of a header but the generation, which makes the block readable. */
export function writeHeader(header: Uint8Array, name: string, bytes: number): void {
  const view = Buffer.from(header.buffer, header.byteOffset, blockHeaderBytes)
  if (name.length > 2 * nameBytesMax) throw new InvalidArgumentError(`the name ${name} is too long for the store`)
  view.writeInt32LE(0, headerAt.used)
  view.writeUInt32LE(view.write(name, headerAt.name, nameBytesMax, 'hex'), headerAt.nameLength)
  view.writeDoubleLE(bytes, headerAt.bytes)
}

/** True when the header that begins at `at` is that of this value. */
export function isHeaderOf(memory: Buffer, name: string, bytes: number, at = 0): boolean {
  if (memory.readDoubleLE(at + headerAt.bytes) !== bytes) return false
  const length = Math.min(memory.readUInt32LE(at + headerAt.nameLength), nameBytesMax)
  return memory.toString('hex', at + headerAt.name, at + headerAt.name + length) === name
}
