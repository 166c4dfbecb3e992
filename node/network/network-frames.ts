import { ByteReader, type ByteWriter } from '../../protocols/bytes.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import { bytes, list, oneOf, string, struct, u32, type Codec } from '../../protocols/schema.ts'

const addressesOfNode = list(string(512), 16)

/** The network's own frames on a link, types 200 to 219. Those below are the upper layer's. */
export const networkFrames = {
  /**
   * The first on every link, both ways. The two versions come first and stay there, so that any version can read those of
   * any other.
   */
  hello: {
    type: 200,
    bytesMax: 16 * 1024,
    body: struct({
      protocol: u32,
      version: string(64),
      meshId: bytes,
      name: string(256),
      credentials: bytes,
      addresses: addressesOfNode,
    }),
  },
  /** The sender has checked the other's hello. */
  accepted: { type: 201, bytesMax: 0, body: struct({}) },
  /** The sender ends the link, and says why: it has nothing against the other, refuses it, or has another link to it. */
  goodbye: {
    type: 202,
    bytesMax: 4096,
    body: struct({ kind: oneOf('closed', 'refused', 'double'), reason: string(3072) }),
  },
  /** Nothing else was to be said for a while. */
  keepAlive: { type: 203, bytesMax: 0, body: struct({}) },
  /** Where other members are. */
  peersKnown: { type: 204, bytesMax: 64 * 1024, body: list(addressesOfNode, 1000) },
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

/** Parts of a list of nodes' addresses that each fit into one frame. */
export function* peersKnownParts(nodes: Iterable<readonly string[]>): Generator<string[][]> {
  let part: string[][] = []
  let partBytes = 4
  for (const all of nodes) {
    const addresses = all.slice(0, 16)
    const nodeBytes = addresses.reduce((sum, address) => sum + 4 + Buffer.byteLength(address), 4)
    if (part.length >= 1000 || partBytes + nodeBytes > networkFrames.peersKnown.bytesMax) {
      yield part
      part = []
      partBytes = 4
    }
    part.push(addresses)
    partBytes += nodeBytes
  }
  if (part.length > 0) yield part
}
