import type { MemorySegment } from './memory-segment.ts'

/** As far as its pins go, a client. */
export interface Pinner {
  readonly id: string
  readonly pid: number
  pinTable: number | undefined
}

/** What becomes of the processes of clients. */
export interface Processes {
  isAlive(pid: number): boolean
  /** True while a client has room in the store that it may be writing to. */
  isWriting(client: string): boolean
  /** The process of a client that has left is gone: it neither reads nor writes any more. */
  onGone(client: string): void
}

/** A program that ends closes its connection a moment before it is gone; one that goes on may do so for long. */
const firstLookMs = 50
const lookMsMax = 1000

/**
 * Who has which table of pins. A program that has ended its connection may go on, and look at values that it got before: its
 * pins count for as long as its process lives, and what room it has to write stays its own.
 */
export class PinTables {
  readonly #segment: Pick<MemorySegment, 'takePinTable' | 'freePinTable'> | undefined
  readonly #processes: Processes
  readonly #clients = new Map<number, Pinner>()
  readonly #departed = new Set<Readonly<Pinner>>()
  #timer: NodeJS.Timeout | undefined
  #lookMs = firstLookMs

  constructor(segment: Pick<MemorySegment, 'takePinTable' | 'freePinTable'> | undefined, processes: Processes) {
    this.#segment = segment
    this.#processes = processes
  }

  entered(client: Pinner): void {
    client.pinTable = this.#segment?.takePinTable()
    if (client.pinTable !== undefined) this.#clients.set(client.pinTable, client)
  }

  left(client: Pinner): void {
    const { id, pid, pinTable } = client
    // There is a bound: the tables, and what is written at one time.
    if (pinTable === undefined && !this.#processes.isWriting(id)) return
    this.#departed.add({ id, pid, pinTable })
    this.#lookMs = firstLookMs
    this.#look()
  }

  /** Whose table it is. */
  clientOf(table: number): Pinner | undefined {
    return this.#clients.get(table)
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  #look(): void {
    for (const client of this.#departed) {
      if (this.#processes.isAlive(client.pid)) continue
      this.#departed.delete(client)
      this.#processes.onGone(client.id)
      if (client.pinTable === undefined) continue
      this.#clients.delete(client.pinTable)
      this.#segment?.freePinTable(client.pinTable)
    }
    clearTimeout(this.#timer)
    if (this.#departed.size === 0) return
    this.#timer = setTimeout(() => this.#look(), this.#lookMs).unref()
    this.#lookMs = Math.min(lookMsMax, this.#lookMs * 2)
  }
}
