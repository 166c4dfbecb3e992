import { readFileSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import path from 'node:path'
import type { Term } from '../../protocols/election.ts'

/** The highest term that this node has accepted, on disk. */
export class FenceFile {
  readonly #file: string
  constructor(stateDirectory: string) {
    this.#file = path.join(stateDirectory, 'fence')
  }
  read(): Term | undefined {
    try {
      const [counter, head] = readFileSync(this.#file, 'utf8').trim().split(' ')
      return { counter: Number(counter), head: head ?? '' }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }
  async write(term: Term): Promise<void> {
    const temporary = `${this.#file}.new`
    const handle = await open(temporary, 'w', 0o600)
    try {
      await handle.writeFile(`${term.counter} ${term.head}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, this.#file)
  }
}
