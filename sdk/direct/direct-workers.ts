import { createConnection } from 'node:net'
import { ProtocolError } from '../../protocols/errors.ts'
import { nodeOf, type ClientId } from '../../protocols/ids.ts'
import { decodeBody, type MessageBody } from '../../protocols/messages.ts'
import type { TaskResult } from '../../protocols/task-messages.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import { DirectLine } from './direct-line.ts'

/** Lines of one process. */
const linesMax = 64
/** What is read at a time. */
const readBytes = 64 * 1024

export interface DirectWorkersHost {
  readonly connection: NodeConnection
  onDone(worker: ClientId, results: readonly TaskResult[]): void
  /** The line to a worker has ended; its process may go on. */
  onEnded(worker: ClientId): void
}

/** Who calls: its lines to workers of the same node that are actors. */
export class DirectWorkers {
  readonly #host: DirectWorkersHost
  /** By worker; undefined while it is asked for one. */
  readonly #lines = new Map<ClientId, DirectLine | undefined>()
  /** One place for all that comes: nothing is kept of it when it has been handled. */
  #place: Buffer | undefined

  constructor(host: DirectWorkersHost) {
    this.#host = host
  }

  /** Asks a worker for a line, if it is of this node. */
  meet(worker: ClientId): void {
    const { connection } = this.#host
    const { clientId: from, nodeId } = connection.welcome
    if (nodeOf(worker) !== nodeId || this.#lines.has(worker) || this.#lines.size >= linesMax) return
    this.#lines.set(worker, undefined)
    connection.send('actorMeet', { to: worker, from })
  }

  /** The worker has said where it listens. */
  onMet({ from: worker, socketPath, key }: MessageBody<'actorMet'>): void {
    if (!this.#lines.has(worker) || this.#lines.get(worker) !== undefined) return
    if (socketPath === '') {
      this.#lines.delete(worker)
      return
    }
    const place = (this.#place ??= Buffer.allocUnsafeSlow(readBytes))
    const socket = createConnection({
      path: socketPath,
      onread: {
        buffer: place,
        callback: (count) => {
          line.receive(Buffer.from(place.subarray(0, count)))
          return true
        },
      },
    })
    const line = new DirectLine(socket, {
      onMessage: (name, frame) => {
        if (name !== 'actorDone') throw new ProtocolError(`a ${name} message is not expected from a worker`)
        this.#host.onDone(worker, decodeBody('actorDone', frame.body).results)
      },
      onEnded: () => {
        if (this.#lines.get(worker) !== line) return
        this.#lines.delete(worker)
        this.#host.onEnded(worker)
      },
    })
    this.#lines.set(worker, line)
    line.send('actorHello', { key })
  }

  /** True when there is a line to the worker. */
  has(worker: ClientId): boolean {
    return this.#lines.get(worker)?.isOpen === true
  }

  /** Sends over the line to the worker, if there is still one: who has sent is told when it ends. */
  send<N extends 'actorPush' | 'actorCancel'>(worker: ClientId, name: N, body: MessageBody<N>): void {
    this.#lines.get(worker)?.send(name, body)
  }

  /** The worker is gone, or nobody here calls it any more. */
  drop(worker: ClientId): void {
    const line = this.#lines.get(worker)
    this.#lines.delete(worker)
    line?.destroy()
  }

  close(): void {
    for (const worker of [...this.#lines.keys()]) this.drop(worker)
  }
}
