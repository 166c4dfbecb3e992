import os from 'node:os'
import { InvalidArgumentError } from '../../protocols/errors.ts'
import { linkBytesMax, peerProtocolVersion } from '../../protocols/peer-messages.ts'
import { shoalVersion } from '../../protocols/version.ts'
import { BulkExchange } from '../bulk/bulk-exchange.ts'
import { PortFile } from '../home/port-file.ts'
import { stateDirectoryOf } from '../home/state-directory.ts'
import { takeStateLock } from '../home/state-lock.ts'
import { Membership } from '../membership/membership.ts'
import { Libp2pNetwork } from '../network/libp2p-network.ts'
import type { JoinConversation } from '../network/network.ts'
import type { NodeOptions } from '../options.ts'
import { joinBy } from './join-by.ts'
import { LinkedClients } from './remote-clients.ts'
import { PeerPost } from './peer-post.ts'
import { PeersFile } from './peers-file.ts'

/** What a node stands on before it meets others: who it is, to which mesh it belongs, and how it reaches it. */
export interface MeshGround {
  readonly membership: Membership
  readonly network: Libp2pNetwork
  readonly post: PeerPost
  readonly linked: LinkedClients
  readonly bulk: BulkExchange
  readonly name: string
  readonly stateDirectory: string
  /** Where it was to listen. */
  readonly listen: { readonly host: string; readonly port: number }
  readonly isMdnsOn: boolean
  /** Members that it has just joined by: it is to be linked with one of them before it is ready. */
  readonly contacts: readonly string[]
  /** The node does not belong to this mesh any more: it has no use for the addresses of its members. */
  forgetPeers(): void
  close(): void
}

/** An embedded node stays alone, unless it is told which mesh to join. */
export function wantsMesh({ mesh, embedded, join }: NodeOptions): boolean {
  return mesh ?? (embedded !== true || join !== undefined)
}

/** Where the node listens: what it was told, else everywhere, at the port that it had last. */
function listenOf(options: NodeOptions, ports: PortFile): { host: string; port: number; isHabit: boolean } {
  const given = options.listen ?? parseListen(process.env['SHOAL_LISTEN'])
  const { host = '0.0.0.0', port = 0 } = given ?? {}
  return { host, port: port === 0 ? ports.read() : port, isHabit: port === 0 }
}

/** `SHOAL_LISTEN`: an address, or an address and a port. */
function parseListen(text: string | undefined): { host: string; port: number } | undefined {
  if (text === undefined || text === '') return undefined
  const match = /^(\[[\da-fA-F:]+\]|[\d.]+)(?::(\d+))?$/.exec(text)
  if (match === null)
    throw new InvalidArgumentError(`SHOAL_LISTEN is ${text}; expected HOST or HOST:PORT, such as 127.0.0.1:7461`)
  return { host: (match[1] as string).replace(/^\[|\]$/g, ''), port: Number(match[2] ?? 0) }
}

/** Has the state folder for itself until it is closed. */
export async function prepareMesh(
  options: NodeOptions,
  how: { token: string | undefined; log(text: string): void },
): Promise<MeshGround> {
  const stateDirectory = stateDirectoryOf(options)
  const release = takeStateLock(stateDirectory)
  try {
    const ground = await prepare(options, stateDirectory, how)
    return {
      ...ground,
      close() {
        ground.close()
        release()
      },
    }
  } catch (error) {
    release()
    throw error
  }
}

async function prepare(
  options: NodeOptions,
  stateDirectory: string,
  { token, log }: { token: string | undefined; log(text: string): void },
): Promise<MeshGround> {
  const membership = await Membership.open(stateDirectory, {
    onSaveFailed: (error) => log(`the membership could not be written: ${error.message}`),
  })
  const met = token === undefined ? [] : await joinBy(membership, token, { log })
  if (!membership.isMember) await membership.found(Date.now())

  const ports = new PortFile(stateDirectory)
  const peers = new PeersFile(stateDirectory, log)
  const listen = listenOf(options, ports)
  const isMdnsOn = options.mdns ?? !/^127\.|^::1$/.test(listen.host)
  const name = options.name ?? os.hostname()
  const network = new Libp2pNetwork({
    seed: membership.identity.seed,
    publicKey: membership.identity.publicKey,
    gate: membership,
    meshId: membership.meshId,
    name,
    version: shoalVersion,
    protocolVersion: peerProtocolVersion,
    listen,
    mdns: isMdnsOn,
    remembered: [...met, ...peers.read()],
    fixed: options.peers ?? [],
    onJoin: (conversation) => void admit(membership, conversation, log),
    onPeersChanged: (addresses) => peers.write(addresses),
    onListening: (port) => ports.write(port),
    bytesMaxOf: linkBytesMax,
    log,
  })
  const post = new PeerPost(network)
  return {
    membership,
    network,
    post,
    linked: new LinkedClients(post),
    bulk: new BulkExchange({ network, log }),
    name,
    stateDirectory,
    listen,
    isMdnsOn,
    contacts: met,
    forgetPeers: () => peers.remove(),
    close: () => peers.close(),
  }
}

async function admit(
  membership: Membership,
  conversation: JoinConversation,
  log: (text: string) => void,
): Promise<void> {
  const outcome = await membership.admit(conversation)
  if (outcome.isAdmitted) log(`node ${outcome.node} (${conversation.address}) has joined as ${outcome.role}`)
  else log(`node ${outcome.node} (${conversation.address}) was not let in: ${outcome.error.message}`)
}
