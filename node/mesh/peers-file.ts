import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const addressesMax = 4000
const writeAfterMs = 1000

/** The addresses of members that this node knows, kept for its next start. */
export class PeersFile {
  readonly #file: string
  readonly #log: (text: string) => void
  #addresses: readonly string[] = []
  #timer: NodeJS.Timeout | undefined
  #isRemoved = false

  constructor(stateDirectory: string, log: (text: string) => void) {
    this.#file = path.join(stateDirectory, 'peers.json')
    this.#log = log
  }

  read(): string[] {
    try {
      const content: unknown = JSON.parse(readFileSync(this.#file, 'utf8'))
      return Array.isArray(content) ? content.filter((each) => typeof each === 'string').slice(0, addressesMax) : []
    } catch {
      // None yet, or cut short by a crash: neighbours are found by other ways, too.
      return []
    }
  }

  /** Deletes the file; nothing is written any more. */
  remove(): void {
    this.close()
    this.#isRemoved = true
    rmSync(this.#file, { force: true })
  }

  /** Writes the list, a little later: it changes often when a mesh begins. */
  write(addresses: readonly string[]): void {
    if (this.#isRemoved) return
    this.#addresses = addresses.slice(0, addressesMax)
    this.#timer ??= setTimeout(() => this.#flush(), writeAfterMs)
  }

  close(): void {
    if (this.#timer !== undefined) this.#flush()
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    try {
      writeFileSync(`${this.#file}.new`, JSON.stringify(this.#addresses), { mode: 0o600 })
      renameSync(`${this.#file}.new`, this.#file)
    } catch (error) {
      this.#log(`the addresses of other nodes could not be written: ${(error as Error).message}`)
    }
  }
}
