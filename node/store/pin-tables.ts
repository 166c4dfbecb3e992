import { pinsEndMark } from '../../protocols/store-segment.ts'
import type { MemorySegment } from './memory-segment.ts'

/** As far as its pins go, a client. */
export interface Pinner {
  readonly id: string
  readonly pid: number
  pinTable: number | undefined
  /** It may know where values lie, or have room for them. */
  readonly usesStore: boolean
}

export type PinMemory = Pick<MemorySegment, 'takePinTable' | 'freePinTable' | 'pinsEnd'>

/** What becomes of the processes of clients. */
export interface Processes {
  isAlive(pid: number): boolean
  /** True while a client has room in the store that it may be writing to. */
  isWriting(client: string): boolean
  /** A client that has left neither reads nor writes any more. */
  onGone(client: string): void
}

/** A program that ends closes its connection a moment before it is gone; one that goes on may do so for long. */
const firstLookMs = 50
const lookMsMax = 1000

/**
 * Who has which table of pins. A program that has ended its connection may go on, and look at values that it got before: its
 * pins count until it says in its table that it has come to the end, or its process is gone, and what room it has to write
 * stays its own.
 */
export class PinTables {
  readonly #segment: PinMemory | undefined
  readonly #processes: Processes
  readonly #clients = new Map<number, Pinner>()
  readonly #departed = new Set<Readonly<Pinner>>()
  #timer: NodeJS.Timeout | undefined
  #lookMs = firstLookMs

  constructor(segment: PinMemory | undefined, processes: Processes) {
    this.#segment = segment
    this.#processes = processes
  }

  entered(client: Pinner): void {
    client.pinTable = this.#segment?.takePinTable()
    if (client.pinTable !== undefined) this.#clients.set(client.pinTable, client)
  }

  left(client: Pinner): void {
    const { id, pid, pinTable, usesStore } = client
    // There is a bound: the tables, and what is written at one time.
    if (pinTable === undefined && !this.#processes.isWriting(id)) return
    this.#departed.add({ id, pid, pinTable, usesStore })
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
      if (this.#mayUseMemory(client)) continue
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

  #mayUseMemory({ id, pid, pinTable, usesStore }: Readonly<Pinner>): boolean {
    if (!usesStore || !this.#processes.isAlive(pid)) return false
    return pinTable === undefined || this.#segment?.pinsEnd(pinTable) !== pinsEndMark(id)
  }
}
