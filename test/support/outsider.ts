import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Connection, Libp2p } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { decodeCredentials, issueCredentials } from '../../node/membership/certificate.ts'
import { Identity, nodeIdOf } from '../../node/membership/identity.ts'
import { KeyPair } from '../../node/membership/key-pair.ts'
import { StateFiles } from '../../node/membership/state-files.ts'
import { startJoiner, stopLibp2p } from '../../node/network/libp2p-host.ts'
import { Libp2pNetwork } from '../../node/network/libp2p-network.ts'
import type { LocalNode } from '../../node/local-mesh/local-mesh.ts'
import type { MemberRole } from '../../protocols/membership.ts'
import { linkBytesMax, peerProtocolVersion } from '../../protocols/peer-messages.ts'
import { NetworkRecord } from './network-peer.ts'

/** What only the founder of a mesh has: with it a test can make any certificate. */
export async function rootOf({ stateDirectory }: LocalNode): Promise<KeyPair> {
  const seed = await new StateFiles(stateDirectory).read('root.key')
  if (seed === undefined) throw new Error(`${stateDirectory} is not that of a founder`)
  return new KeyPair(seed)
}

export function certificateFor(root: KeyPair, { publicKey }: Identity, role: MemberRole, atMs: number): Uint8Array {
  const issuer = { key: root, rootPublicKey: root.publicKey, chain: [] }
  const credentials = issueCredentials(issuer, publicKey, role, atMs, randomBytes)
  decodeCredentials(credentials)
  return credentials
}

export interface OutsiderOptions {
  identity?: Identity
  meshId: Uint8Array
  credentials: Uint8Array
  protocolVersion?: number
  version?: string
}

/** A node that is not one: it shows what it is told to show, and takes everybody for a member. */
export class Outsider implements AsyncDisposable {
  readonly network: Libp2pNetwork
  readonly record = new NetworkRecord()

  private constructor(network: Libp2pNetwork) {
    this.network = network
  }

  static async open({
    identity = new Identity(randomBytes(32)),
    meshId,
    credentials,
    protocolVersion = peerProtocolVersion,
    version = '0.1.0',
  }: OutsiderOptions): Promise<Outsider> {
    const network = new Libp2pNetwork({
      seed: identity.seed,
      publicKey: identity.publicKey,
      gate: {
        credentials: () => credentials,
        check: (_, publicKey) => ({ node: nodeIdOf(publicKey), role: 'admin' }),
      },
      meshId,
      name: 'outsider',
      version,
      protocolVersion,
      listen: { host: '127.0.0.1', port: 0 },
      mdns: false,
      remembered: [],
      fixed: [],
      onJoin: () => {},
      onPeersChanged: () => {},
      onListening: () => {},
      bytesMaxOf: linkBytesMax,
      log: () => {},
    })
    const outsider = new Outsider(network)
    await network.open(outsider.record)
    return outsider
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.network.close()
  }
}

/** A bare connection, to speak any protocol over. */
export async function stranger(address: string): Promise<{ libp2p: Libp2p; connection: Connection } & AsyncDisposable> {
  const libp2p = await startJoiner(randomBytes(32))
  const connection = await libp2p.dial(multiaddr(address), { signal: AbortSignal.timeout(10_000) })
  return { libp2p, connection, [Symbol.asyncDispose]: () => stopLibp2p(libp2p) }
}

/** The lines of a node's log. */
export function logOf({ runtimeDirectory }: LocalNode): string[] {
  return readFileSync(path.join(runtimeDirectory, 'node.log'), 'utf8').split('\n')
}

/** Resident memory of a process, in bytes. */
export function residentBytes(pid: number): number {
  const [, kibibytes] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kibibytes) * 1024
}
