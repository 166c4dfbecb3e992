import { ByteReader, ByteWriter } from '../../protocols/bytes.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { oneOf, string, struct, u48, type Codec, type CodecType } from '../../protocols/schema.ts'
import type { ByteSource } from './byte-source.ts'

/**
 * What is said on a bulk stream before the bytes: a request one way, an answer the other. Each is a 4-byte length and
 * the message. A length of 0 is no message, but a sign of life of one who needs more time.
 */
const messageBytesMax = 4096

/** What can be asked for: a file of shipped code. */
const kind = oneOf('blob')
export type BulkKind = CodecType<typeof kind>

/** `name`: a blob's hash. `bytesMax`: more than this the asker does not take. */
export const bulkRequest = struct({ kind, name: string(64), bytesMax: u48 })
export type BulkRequest = CodecType<typeof bulkRequest>

const answerTextBytesMax = 2048
/** `size` bytes follow an answer that is `ok`, nothing follows another. */
export const bulkAnswer = struct({ status: oneOf('ok', 'lost', 'failed'), size: u48, text: string(answerTextBytesMax) })
export type BulkAnswer = CodecType<typeof bulkAnswer>

/** So long may a text be in any script. */
export const answerTextCharsMax = Math.floor(answerTextBytesMax / 3)

export const signOfLife = Buffer.alloc(4)

export function encodeMessage<T>(codec: Codec<T>, message: T): Buffer {
  const writer = new ByteWriter(256)
  writer.u32(0)
  codec.write(writer, message)
  writer.setU32(0, writer.length - 4)
  return writer.take()
}

/** The next message; undefined for a sign of life. Throws ProtocolError when it is not what the codec says. */
export async function readMessage<T>(source: ByteSource, codec: Codec<T>): Promise<T | undefined> {
  const length = (await source.exactly(4)).readUInt32LE()
  if (length === 0) return undefined
  if (length > messageBytesMax) {
    throw new ProtocolError(`a message on a bulk stream has ${length} bytes; at most ${messageBytesMax} are allowed`)
  }
  const reader = new ByteReader(await source.exactly(length))
  const message = codec.read(reader)
  if (reader.remaining > 0) throw new ProtocolError(`a message on a bulk stream has ${reader.remaining} bytes too many`)
  return message
}
