import { createConnection } from 'node:net'
import path from 'node:path'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import { nodeOf, type ClientId } from '../../protocols/ids.ts'
import { decodeBody, type MessageBody, type MessageName } from '../../protocols/messages.ts'
import type { TaskResult } from '../../protocols/task-messages.ts'
import { isPlain } from '../../protocols/wire-value.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import { within } from '../runtime/within.ts'
import { DirectLine } from './direct-line.ts'

/** Lines of one process. */
const linesMax = 64
/** What is read at a time. */
const readBytes = 64 * 1024
/** How long workers may take to take in the last that is sent to them. */
const closeMs = 1000

export interface DirectWorkersHost {
  readonly connection: NodeConnection
  onDone(worker: ClientId, results: readonly TaskResult[]): void
  /** The worker has everything that went over its line before this fence. */
  onFence(worker: ClientId, fence: number): void
  /** A line that was in use has ended; the worker's process may go on. */
  onEnded(worker: ClientId, line: number): void
}

interface WorkerLine {
  /** Counts up, so that a line is not taken for the one before it; 0 until the worker has answered. */
  number: number
  /** Undefined while the worker is asked where it listens. */
  line: DirectLine | undefined
}

interface AwaitedFence {
  readonly worker: ClientId
  readonly number: number
  readonly resolve: () => void
}

/** Who calls: its lines to workers of the same node that are actors. */
export class DirectWorkers {
  readonly #host: DirectWorkersHost
  readonly #lines = new Map<ClientId, WorkerLine>()
  #lastLine = 0
  #lastFence = 0
  /** Those that somebody waits for. */
  readonly #fences = new Set<AwaitedFence>()
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
    this.#lines.set(worker, { number: 0, line: undefined })
    connection.send('actorMeet', { to: worker, from })
  }

  /** The worker has said where it listens. */
  onMet({ from: worker, socketPath, key }: MessageBody<'actorMet'>): void {
    const { connection } = this.#host
    const entry = this.#lines.get(worker)
    if (entry === undefined || entry.line !== undefined) return
    // Only in the node's own folder is it certain who listens.
    if (path.dirname(socketPath) !== connection.welcome.codeDirectory) {
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
      onMessage: (name, frame) => this.#onMessage(worker, { entry, key }, name, frame),
      onEnded: () => {
        if (this.#lines.get(worker) !== entry) return
        this.#lines.delete(worker)
        this.#passFences((fence) => fence.worker === worker)
        if (entry.number > 0) this.#host.onEnded(worker, entry.number)
      },
    })
    entry.line = line
    line.send('actorHello', { key })
  }

  #onMessage(worker: ClientId, of: { entry: WorkerLine; key: string }, name: MessageName, frame: Frame): void {
    const { entry, key } = of
    if (entry.number === 0) {
      if (name !== 'actorHello' || decodeBody('actorHello', frame.body).key !== key) throw notExpected(name)
      entry.number = ++this.#lastLine
    } else if (name === 'actorDone') {
      const { results } = decodeBody('actorDone', frame.body)
      if (!results.every(({ values }) => values.every(isPlain))) {
        throw new ProtocolError('a result with refs, or of a store, does not go over a line')
      }
      this.#host.onDone(worker, results)
    } else if (name === 'actorFence') {
      const { number } = decodeBody('actorFence', frame.body)
      this.#passFences((fence) => fence.worker === worker && fence.number === number)
      this.#host.onFence(worker, number)
    } else throw notExpected(name)
    this.#host.connection.handled()
  }

  /** The number of the line to the worker; 0 when there is none that the worker has taken. */
  lineTo(worker: ClientId): number {
    const entry = this.#lines.get(worker)
    return entry?.line?.isOpen === true ? entry.number : 0
  }

  /** Sends over the line to the worker, if there is still one: who has sent is told when it ends. */
  send<N extends 'actorPush' | 'actorCancel'>(worker: ClientId, name: N, body: MessageBody<N>): void {
    this.#lines.get(worker)?.line?.send(name, body)
  }

  /** Sends a fence over the line, which the worker returns when it has read it. Gives its number. */
  fence(worker: ClientId): number {
    const number = (this.#lastFence = (this.#lastFence + 1) >>> 0)
    this.#lines.get(worker)?.line?.send('actorFence', { number })
    return number
  }

  /** Resolves when the worker has everything that was sent to it over its line, or that has ended. */
  async delivered(worker: ClientId): Promise<void> {
    if (this.lineTo(worker) === 0) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#fences.add({ worker, number: this.fence(worker), resolve })
    await promise
  }

  #passFences(isMeant: (fence: AwaitedFence) => boolean): void {
    for (const fence of this.#fences) {
      if (!isMeant(fence)) continue
      this.#fences.delete(fence)
      fence.resolve()
    }
  }

  /** The worker is gone, or nobody here calls it any more. */
  drop(worker: ClientId): void {
    const entry = this.#lines.get(worker)
    this.#lines.delete(worker)
    this.#passFences((fence) => fence.worker === worker)
    entry?.line?.destroy()
  }

  /** Ends all lines. Resolves when the workers have what was sent before, or do not take it for long. */
  async close(): Promise<void> {
    const lines = [...this.#lines.values()]
    this.#lines.clear()
    this.#passFences(() => true)
    const taken: Promise<void>[] = []
    for (const { number, line } of lines) {
      if (number > 0 && line?.isOpen === true) taken.push(line.end())
      else line?.destroy()
    }
    await within(closeMs, taken)
    for (const { line } of lines) line?.destroy()
  }
}

function notExpected(name: string): ProtocolError {
  return new ProtocolError(`a ${name} message is not expected from a worker`)
}
