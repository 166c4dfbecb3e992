import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import path from 'node:path'
import { Ring } from '../reports/ring.ts'

export const daemonLogName = 'node.log'
const fileBytesMax = 1024 * 1024
const lineCharsMax = 16 * 1024
/** Of the last lines, which are kept in memory for those who ask. */
const keptMax = 2_000
const keptCharsMax = 1_000

/** The node's own diary, in its runtime folder. It is small: when it is full it starts over. */
export class DaemonLog {
  readonly path: string
  /** The last lines. */
  readonly kept = new Ring<string>(keptMax)
  #descriptor: number | undefined
  #written = 0

  constructor(runtimeDirectory: string) {
    this.path = path.join(runtimeDirectory, daemonLogName)
    this.#descriptor = openSync(this.path, 'w', 0o600)
  }

  write(text: string): void {
    if (this.#descriptor === undefined) return
    const time = new Date().toISOString()
    this.kept.push(`${time} ${text.slice(0, keptCharsMax)}`)
    const line = `${time} ${text.slice(0, lineCharsMax)}\n`
    if (this.#written > fileBytesMax) {
      ftruncateSync(this.#descriptor, 0)
      this.#written = 0
    }
    try {
      this.#written += writeSync(this.#descriptor, line, this.#written)
    } catch {
      // A full disk must not take the node down with its diary.
    }
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
    this.#descriptor = undefined
  }
}
