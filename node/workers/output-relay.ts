import type { Readable } from 'node:stream'
import type { ClientDirectory } from '../server/client-directory.ts'
import type { LeaseEnd } from '../server/lease-end.ts'
import type { OutputBlock } from './output-collector.ts'
import type { OutputBook } from '../reports/output-book.ts'
import { WorkerStream } from './worker-stream.ts'

const linesPerMessageMax = 10_000
const charsPerMessageMax = 256 * 1024
/** A driver that is busy with something else must not be cut off because its workers are talkative. */
const unsentBytesMax = 16 * 1024 * 1024
const turnsMax = 20

/** Brings what workers write to the drivers whose tasks wrote it. */
export class OutputRelay {
  readonly #clients: ClientDirectory
  readonly #book: Pick<OutputBook, 'add'>
  readonly #log: (text: string) => void
  readonly #streams = new Set<WorkerStream>()
  readonly #dropped = new WeakMap<LeaseEnd, number>()
  #chunks = 0

  constructor(clients: ClientDirectory, book: Pick<OutputBook, 'add'>, log: (text: string) => void) {
    this.#clients = clients
    this.#book = book
    this.#log = log
  }

  /** Follows one output stream of a worker to its end. `marker`: see `outputMarker`. */
  attach(stream: Readable, pid: number, isError: boolean, marker: string): WorkerStream {
    const follower = new WorkerStream(marker, (blocks) => {
      for (const block of blocks) this.#book.add(pid, isError, block)
      for (const block of byName(blocks)) this.#deliver(block, pid, isError)
    })
    this.#streams.add(follower)
    stream.on('data', (chunk: Buffer) => {
      this.#chunks++
      follower.push(chunk)
    })
    stream.on('error', () => {})
    stream.once('close', () => {
      follower.flush()
      this.#streams.delete(follower)
    })
    return follower
  }

  /** Resolves when what workers have written so far has been sent on. */
  async flush(): Promise<void> {
    // Two turns of the loop without output: what was in the pipes has been read.
    for (let turns = 0, quiet = 0; turns < turnsMax && quiet < 2; turns++) {
      const before = this.#chunks
      await new Promise((resolve) => setImmediate(resolve))
      quiet = this.#chunks === before ? quiet + 1 : 0
    }
    for (const stream of this.#streams) stream.flush()
  }

  #deliver({ to, name, lines }: OutputBlock, pid: number, isError: boolean): void {
    const client = this.#clients.get(to)
    if (client === undefined || !client.wantsLogs) {
      for (const line of lines) this.#log(`worker ${pid} ${isError ? 'stderr' : 'stdout'}: ${line}`)
      return
    }
    if (client.unsentBytes > unsentBytesMax) {
      this.#dropped.set(client, (this.#dropped.get(client) ?? 0) + lines.length)
      return
    }
    const dropped = this.#dropped.get(client)
    if (dropped !== undefined) {
      this.#dropped.delete(client)
      const note = `... ${dropped} lines left out: this program did not read them in time`
      client.send('log', { pid, name, isError, lines: [note] })
    }
    for (const batch of batches(lines)) client.send('log', { pid, name, isError, lines: batch })
  }
}

/** For a driver several tasks of one name are one. */
function byName(blocks: readonly OutputBlock[]): OutputBlock[] {
  const merged: OutputBlock[] = []
  for (const { to, name, lines } of blocks) {
    const last = merged.at(-1)
    if (last?.to !== to || last.name !== name) merged.push({ to, name, lines: [...lines] })
    else for (const line of lines) last.lines.push(line)
  }
  return merged
}

function* batches(lines: string[]): Generator<string[]> {
  let batch: string[] = []
  let chars = 0
  for (const line of lines) {
    if (batch.length > 0 && (batch.length >= linesPerMessageMax || chars + line.length > charsPerMessageMax)) {
      yield batch
      batch = []
      chars = 0
    }
    batch.push(line)
    chars += line.length
  }
  if (batch.length > 0) yield batch
}
