import { crc32 } from 'node:zlib'
import { ByteReader, ByteWriter } from '../../protocols/bytes.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { nodeIdBytes, type NodeId } from '../../protocols/ids.ts'
import { isStoredName } from '../store/stored-name.ts'
import type { MemoryPlace } from '../store/transfer-store.ts'
import { machineMarkBytes } from '../system/machine-mark.ts'

/**
 * What is said on a stream for values. One side asks, for a chunk or for what there is; the other answers in order, with a
 * header, with which chunks it has and which nodes it knows to have some, and with the bytes of the chunk; or with where all
 * of the value lies in memory, if both are on one machine.
 */
const magic = 0x5356
const nameBytesMax = 32
export const requestBytes = 64
export const answerHeaderBytes = 48
/** Nodes that an answer names. */
export const peersMax = 16
const haveBytesMax = 256

/**
 * `have` asks which chunks there are, when there is none to ask for: it is answered when there are more, or after a while.
 * `done`: what lies in memory is not read any more; there is no answer.
 */
export interface ValueRequest {
  kind: 'chunk' | 'have' | 'done'
  requestId: number
  name: string
  index: number
  /** Of the machine, when the value may be read from memory there; else ''. */
  mark: string
}

/**
 * `have`: it is on its way here, these chunks are there. `lost`: it is not here. `busy`: not now. `near`: it lies in memory
 * of this machine, until the next request; where, follows in place of a chunk.
 */
export interface ValueAnswer {
  status: 'data' | 'have' | 'lost' | 'busy' | 'near'
  requestId: number
  index: number
  /** Of the chunk, or of the place, that follows. */
  length: number
  sum: number
  /** Of the whole value; 0 when it is not here. */
  bytes: number
  /** Bits of the chunks that are there; empty when all are. */
  have: Uint8Array
  peers: readonly NodeId[]
}

const kinds = ['chunk', 'have', 'done'] as const
const statuses = ['data', 'have', 'lost', 'busy', 'near'] as const
const noMark = '00'.repeat(machineMarkBytes)

export function encodeRequest({ kind, requestId, name, index, mark }: ValueRequest): Buffer {
  const writer = new ByteWriter(requestBytes)
  writer.u16(magic)
  writer.u8(kinds.indexOf(kind))
  writer.u8(name.length / 2)
  writer.u32(requestId)
  writer.u32(index)
  writer.hex(mark === '' ? noMark : mark, machineMarkBytes)
  writer.hex(name, name.length / 2)
  writer.raw(Buffer.alloc(requestBytes - writer.length))
  return writer.take()
}

export function decodeRequest(bytes: Uint8Array): ValueRequest {
  const reader = new ByteReader(bytes)
  if (reader.u16() !== magic) throw new ProtocolError('a request for a value is none')
  const kind = kinds[reader.u8()]
  const nameLength = reader.u8()
  const requestId = reader.u32()
  const index = reader.u32()
  const mark = reader.hex(machineMarkBytes)
  if (kind === undefined || nameLength > nameBytesMax) throw new ProtocolError('a request for a value is malformed')
  const name = reader.hex(nameLength)
  if (!isStoredName(name)) throw new ProtocolError('a request for a value names none')
  return { kind, requestId, name, index, mark: mark === noMark ? '' : mark }
}

/** The header, and what follows it but for the bytes of the chunk. */
export function encodeAnswer({ status, requestId, index, length, sum, bytes, have, peers }: ValueAnswer): Buffer {
  const writer = new ByteWriter(answerHeaderBytes + have.length + peers.length * nodeIdBytes)
  writer.u16(magic)
  writer.u8(statuses.indexOf(status))
  writer.u8(peers.length)
  writer.u32(requestId)
  writer.u32(index)
  writer.u32(length)
  writer.u32(sum)
  writer.f64(bytes)
  writer.u16(have.length)
  writer.raw(Buffer.alloc(answerHeaderBytes - writer.length))
  writer.raw(have)
  for (const peer of peers) writer.hex(peer, nodeIdBytes)
  return writer.take()
}

/** What a header says. `restBytes` follow it before the chunk: {@link decodeRest} reads them. */
export function decodeAnswer(header: Uint8Array): Omit<ValueAnswer, 'have' | 'peers'> & {
  haveBytes: number
  peerCount: number
  restBytes: number
} {
  const reader = new ByteReader(header)
  if (reader.u16() !== magic) throw new ProtocolError('an answer about a value is none')
  const status = statuses[reader.u8()]
  const peerCount = reader.u8()
  const [requestId, index, length, sum] = [reader.u32(), reader.u32(), reader.u32(), reader.u32()]
  const bytes = reader.f64()
  const haveBytes = reader.u16()
  if (status === undefined || peerCount > peersMax || haveBytes > haveBytesMax) {
    throw new ProtocolError('an answer about a value is malformed')
  }
  const restBytes = haveBytes + peerCount * nodeIdBytes
  return { status, requestId, index, length, sum, bytes, haveBytes, peerCount, restBytes }
}

export function decodeRest(
  rest: Uint8Array,
  { haveBytes, peerCount }: { haveBytes: number; peerCount: number },
): Pick<ValueAnswer, 'have' | 'peers'> {
  const reader = new ByteReader(rest)
  const have = Uint8Array.from(reader.raw(haveBytes))
  return { have, peers: Array.from({ length: peerCount }, () => reader.hex(nodeIdBytes)) }
}

export const placeBytes = 20

export function encodePlace({ pid, descriptor, offset, generation }: MemoryPlace): Buffer {
  const writer = new ByteWriter(placeBytes)
  for (const value of [pid, descriptor, generation]) writer.u32(value)
  writer.f64(offset)
  return writer.take()
}

/** Whoever opens it has to check what it says. */
export function decodePlace(bytes: Uint8Array): MemoryPlace {
  const reader = new ByteReader(bytes)
  const [pid, descriptor, generation] = [reader.u32(), reader.u32(), reader.u32()]
  return { pid, descriptor, generation, offset: reader.f64() }
}

const sampleBytes = 4096
const sampleStep = 16 * sampleBytes

/**
 * A sum of every sixteenth page of a chunk, and of where it belongs. TLS sees to it that bytes arrive as they were sent; this
 * finds those that were sent from a wrong place, and costs little.
 */
export function sumOfChunk(name: string, offset: number, chunk: Uint8Array): number {
  let sum = crc32(`${name} ${offset} ${chunk.length}`)
  for (let at = 0; at < chunk.length; at += sampleStep) sum = crc32(chunk.subarray(at, at + sampleBytes), sum)
  return sum
}
