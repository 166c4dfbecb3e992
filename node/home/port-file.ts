import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** The port that a node had last: others remember it under that, so it takes it again if it can. */
export class PortFile {
  readonly #file: string

  constructor(stateDirectory: string) {
    this.#file = path.join(stateDirectory, 'port')
  }

  /** 0 when there is none. */
  read(): number {
    try {
      const port = Number(readFileSync(this.#file, 'utf8'))
      return Number.isInteger(port) && port > 0 && port <= 65_535 ? port : 0
    } catch {
      return 0
    }
  }

  write(port: number): void {
    mkdirSync(path.dirname(this.#file), { recursive: true, mode: 0o700 })
    writeFileSync(this.#file, `${port}\n`, { mode: 0o600 })
  }
}
