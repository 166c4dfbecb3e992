import { ByteReader, ByteWriter } from '../../protocols/bytes.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { fixedBytes, meshIdBytes } from '../../protocols/membership.ts'
import { bytes, hex, oneOf, struct, u32, type Codec } from '../../protocols/schema.ts'
import { tokenIdBytes } from './join-token.ts'

export const joinVersion = 1
export const nonceBytes = 32
const proofBytes = 32

/**
 * The messages of a node that joins and the member that admits it, in their order. Each is one byte of type and a body.
 */
const joinMessages = {
  /** Joiner: which mesh it wants to join. The version comes first and stays there, so that it can be read by any other. */
  hello: {
    type: 1,
    bytesMax: 256,
    body: struct({ version: u32, meshId: fixedBytes(meshIdBytes), nonce: fixedBytes(nonceBytes) }),
  },
  /** Admitter: proves that it belongs to that mesh. */
  offer: { type: 2, bytesMax: 4096, body: struct({ nonce: fixedBytes(nonceBytes), credentials: bytes }) },
  /** Joiner: which token it has, and that it knows the secret. */
  proof: { type: 3, bytesMax: 256, body: struct({ tokenId: hex(tokenIdBytes), proof: fixedBytes(proofBytes) }) },
  /** Admitter: the new member's credentials, and that they are from one who knows the secret, too. */
  welcome: { type: 4, bytesMax: 4096, body: struct({ credentials: bytes, proof: fixedBytes(proofBytes) }) },
  /** Admitter: why not. */
  refused: {
    type: 5,
    bytesMax: 16,
    body: struct({
      reason: oneOf(
        'unknown',
        'expired',
        'usedUp',
        'revoked',
        'tooManyTries',
        'cannotAdmit',
        'otherMesh',
        'otherVersion',
        'nodeRevoked',
        'failed',
      ),
    }),
  },
} as const

type JoinMessages = typeof joinMessages
export type JoinMessageName = keyof JoinMessages
export type JoinMessageBody<N extends JoinMessageName> = JoinMessages[N]['body'] extends Codec<infer T> ? T : never
export type JoinMessage = { [N in JoinMessageName]: { name: N; body: JoinMessageBody<N> } }[JoinMessageName]
export type JoinRefusal = JoinMessageBody<'refused'>['reason']

export function encodeJoinMessage<N extends JoinMessageName>(name: N, body: JoinMessageBody<N>): Uint8Array {
  const writer = new ByteWriter(1024)
  writer.u8(joinMessages[name].type)
  ;(joinMessages[name].body as Codec<unknown>).write(writer, body)
  return writer.take()
}

/** Throws ProtocolError for what is none of the messages. */
export function decodeJoinMessage(message: Uint8Array): JoinMessage {
  const reader = new ByteReader(message)
  const type = reader.u8()
  for (const [name, { type: known, bytesMax, body }] of Object.entries(joinMessages)) {
    if (known !== type) continue
    if (reader.remaining > bytesMax) {
      throw new ProtocolError(`a ${name} of a join has ${reader.remaining} bytes, over ${bytesMax}`)
    }
    const value = (body as Codec<unknown>).read(reader)
    if (reader.remaining !== 0) throw new ProtocolError(`a ${name} of a join has ${reader.remaining} bytes too many`)
    return { name, body: value } as JoinMessage
  }
  throw new ProtocolError(`a join has no message of type ${type}`)
}

/** The version of a hello of any version; undefined for what is no hello. */
export function helloVersionOf(message: Uint8Array): number | undefined {
  const reader = new ByteReader(message)
  return reader.remaining >= 5 && reader.u8() === joinMessages.hello.type ? reader.u32() : undefined
}
