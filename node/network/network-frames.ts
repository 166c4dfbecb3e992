import { ByteReader, type ByteWriter } from '../../protocols/bytes.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import { bytes, list, string, struct, u32, type Codec } from '../../protocols/schema.ts'

/** The network's own frames on a link, types 200 to 219. Those below are the upper layer's. */
export const networkFrames = {
  /** The first on every link, both ways. The version comes first and stays there, so that it can be read by any other. */
  hello: {
    type: 200,
    bytesMax: 16 * 1024,
    body: struct({
      protocol: u32,
      version: string(64),
      meshId: bytes,
      name: string(256),
      credentials: bytes,
      addresses: list(string(512), 16),
    }),
  },
  /** The sender has checked the other's hello. */
  accepted: { type: 201, bytesMax: 0, body: struct({}) },
  /** The sender ends the link, and says why. */
  goodbye: { type: 202, bytesMax: 4096, body: struct({ reason: string(2048) }) },
  /** Nothing else was to be said for a while. */
  keepAlive: { type: 203, bytesMax: 0, body: struct({}) },
  /** Where other members are. */
  peersKnown: { type: 204, bytesMax: 256 * 1024, body: list(list(string(512), 16), 1000) },
} as const

type NetworkFrames = typeof networkFrames
export type NetworkFrameName = keyof NetworkFrames
export type NetworkFrameBody<N extends NetworkFrameName> = NetworkFrames[N]['body'] extends Codec<infer T> ? T : never

const nameByType = new Map<number, NetworkFrameName>()
for (const [name, { type }] of Object.entries(networkFrames)) nameByType.set(type, name as NetworkFrameName)

export function networkFrameName(type: number): NetworkFrameName | undefined {
  return nameByType.get(type)
}

/** The most bytes of a network frame's body; undefined for a type that is not the network's. Empty ones count as 1. */
export function networkFrameBytesMax(type: number): number | undefined {
  const name = nameByType.get(type)
  return name === undefined ? undefined : Math.max(1, networkFrames[name].bytesMax)
}

export function writeNetworkFrame<N extends NetworkFrameName>(
  writer: ByteWriter,
  name: N,
  body: NetworkFrameBody<N>,
): void {
  ;(networkFrames[name].body as Codec<unknown>).write(writer, body)
}

export function readNetworkFrame<N extends NetworkFrameName>(name: N, frame: Frame): NetworkFrameBody<N> {
  const reader = new ByteReader(frame.body)
  const body = networkFrames[name].body.read(reader)
  if (reader.remaining !== 0) throw new ProtocolError(`a ${name} frame has ${reader.remaining} bytes too many`)
  return body as NetworkFrameBody<N>
}
