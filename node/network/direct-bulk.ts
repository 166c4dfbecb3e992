import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { connect, createServer, type ConnectionOptions, type Server, type TLSSocket } from 'node:tls'
import { UnreachableError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { DirectStream } from './direct-stream.ts'
import { Tickets, ticketName } from './tickets.ts'

export interface DirectBulkOptions {
  host: string
  now(): number
  onStream(from: NodeId, stream: DirectStream): void
  log(text: string): void
}

/** How such a connection is secured, but for the secret. */
export const tlsOptions = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' } as const
/** Who connects has to show a ticket within this time. */
const provingMs = 5000
const provingMax = 64
const connectionsMax = 1000

/** Connections between nodes for what is large, apart from those of libp2p: several times as fast. */
export class DirectBulk {
  readonly #options: DirectBulkOptions
  readonly #tickets: Tickets
  readonly #server: Server
  readonly #sockets = new Map<TLSSocket, NodeId>()
  readonly #provenNode = new WeakMap<TLSSocket, NodeId>()
  /** Those who have connected and shown nothing yet. */
  readonly #proving = new Set<string>()

  constructor(options: DirectBulkOptions) {
    this.#options = options
    this.#tickets = new Tickets(options.now)
    this.#server = createServer(
      {
        ...tlsOptions,
        handshakeTimeout: provingMs,
        pskCallback: (socket, name) => {
          const ticket = this.#tickets.take(name)
          if (ticket !== undefined) this.#provenNode.set(socket, ticket.node)
          return ticket?.secret ?? null
        },
      },
      (socket) => this.#onSecure(socket),
    )
    this.#server.on('connection', (socket) => this.#onSocket(socket))
    // Garbage, or no ticket: what it is, the other side knows best.
    this.#server.on('tlsClientError', (_, socket) => socket.destroy())
    this.#server.on('error', (error) => options.log(`direct connections: ${error.message}`))
  }

  /** Begins to listen, at a port that the system chooses. */
  async open(): Promise<void> {
    this.#server.listen(0, this.#options.host)
    await once(this.#server, 'listening')
  }

  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0
  }

  /** What a node needs to open one connection; undefined when it has too many such already. */
  issue(node: NodeId): Buffer | undefined {
    return this.#tickets.issue(node)
  }

  /** Opens a connection with a node that has given a ticket. Rejects with UnreachableError. */
  async connect(
    node: NodeId,
    { host, port, secret }: { host: string; port: number; secret: Uint8Array },
    timeoutMs: number,
  ): Promise<DirectStream> {
    const stream = new DirectStream()
    const options: ConnectionOptions & { onread: DirectStream['onread'] } = {
      ...tlsOptions,
      host,
      port,
      pskCallback: () => ({ psk: secret, identity: ticketName(secret) }),
      // Who has the secret is who gave the ticket, and needs no certificate: this is asked only of a server that has shown
      // one instead of the secret, whoever has signed it.
      checkServerIdentity: () => new Error('it shows a certificate instead of the ticket'),
      // Whatever the environment says of certificates.
      rejectUnauthorized: true,
      onread: stream.onread,
    }
    const socket = connect(options)
    const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    try {
      await once(socket, 'secureConnect')
    } catch (cause) {
      throw new UnreachableError(
        `no direct connection to node ${node} at ${host}:${port}: ${(cause as Error).message}`,
        {
          cause,
        },
      )
    } finally {
      clearTimeout(timer)
    }
    stream.attach(socket, true)
    this.#keep(socket, node)
    return stream
  }

  /** Ends all connections of a node, or of all. */
  end(node?: NodeId): void {
    if (node !== undefined) this.#tickets.revoke(node)
    for (const [socket, peer] of this.#sockets) if (node === undefined || peer === node) socket.destroy()
  }

  close(): void {
    this.#server.close()
    this.end()
  }

  #keep(socket: TLSSocket, node: NodeId): void {
    this.#sockets.set(socket, node)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  /** Somebody has connected, who has shown nothing yet. */
  #onSocket(socket: Socket): void {
    socket.on('error', () => {})
    if (this.#proving.size >= provingMax || this.#sockets.size >= connectionsMax) {
      socket.destroy()
      return
    }
    const from = peerOf(socket)
    this.#proving.add(from)
    socket.once('close', () => this.#proving.delete(from))
  }

  #onSecure(socket: TLSSocket): void {
    this.#proving.delete(peerOf(socket))
    const node = this.#provenNode.get(socket)
    if (node === undefined) {
      socket.destroy()
      return
    }
    const stream = new DirectStream()
    stream.attach(socket, false)
    this.#keep(socket, node)
    this.#options.onStream(node, stream)
  }
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`
}
