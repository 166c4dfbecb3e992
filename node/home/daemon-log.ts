import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import path from 'node:path'

const fileBytesMax = 1024 * 1024
const lineCharsMax = 16 * 1024

/** The node's own diary, in its runtime folder. It is small: when it is full it starts over. */
export class DaemonLog {
  readonly path: string
  #descriptor: number | undefined
  #written = 0

  constructor(runtimeDirectory: string) {
    this.path = path.join(runtimeDirectory, 'node.log')
    this.#descriptor = openSync(this.path, 'w', 0o600)
  }

  write(text: string): void {
    if (this.#descriptor === undefined) return
    const line = `${new Date().toISOString()} ${text.slice(0, lineCharsMax)}\n`
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
