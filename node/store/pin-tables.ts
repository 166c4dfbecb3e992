import type { MemorySegment } from './memory-segment.ts'

/** As far as its pins go, a client. */
export interface Pinner {
  readonly id: string
  readonly pid: number
  pinTable: number | undefined
}

/** A program that ends closes its connection a moment before it is gone; one that goes on may do so for long. */
const firstLookMs = 50
const lookMsMax = 1000

/**
 * Who has which table of pins. A program that has ended its connection may go on, and look at values that it got before: its
 * pins count for as long as its process lives.
 */
export class PinTables {
  readonly #segment: Pick<MemorySegment, 'takePinTable' | 'freePinTable'> | undefined
  readonly #isAlive: (pid: number) => boolean
  readonly #clients = new Map<number, Pinner>()
  readonly #departed = new Set<Pinner>()
  #timer: NodeJS.Timeout | undefined
  #lookMs = firstLookMs

  constructor(
    segment: Pick<MemorySegment, 'takePinTable' | 'freePinTable'> | undefined,
    isAlive: (pid: number) => boolean,
  ) {
    this.#segment = segment
    this.#isAlive = isAlive
  }

  entered(client: Pinner): void {
    client.pinTable = this.#segment?.takePinTable()
    if (client.pinTable !== undefined) this.#clients.set(client.pinTable, client)
  }

  left(client: Pinner): void {
    if (client.pinTable === undefined) return
    this.#departed.add(client)
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
      if (this.#isAlive(client.pid)) continue
      const table = client.pinTable as number
      this.#departed.delete(client)
      this.#clients.delete(table)
      this.#segment?.freePinTable(table)
    }
    clearTimeout(this.#timer)
    if (this.#departed.size === 0) return
    this.#timer = setTimeout(() => this.#look(), this.#lookMs).unref()
    this.#lookMs = Math.min(lookMsMax, this.#lookMs * 2)
  }
}
