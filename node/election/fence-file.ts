import { readFileSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import path from 'node:path'
import { NodeUnavailableError } from '../../protocols/errors.ts'
import type { Term } from '../../protocols/election.ts'
import { isNodeId } from '../../protocols/scheduling.ts'

/** The highest term that this node has accepted, on its disk: no crash may make it go back. */
export class FenceFile {
  readonly #directory: string
  readonly #file: string

  constructor(stateDirectory: string) {
    this.#directory = stateDirectory
    this.#file = path.join(stateDirectory, 'fence')
  }

  /** Undefined for a node that has never taken part. Throws NodeUnavailableError for a file that makes no sense. */
  read(): Term | undefined {
    let text: string
    try {
      text = readFileSync(this.#file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw this.#damaged((error as Error).message)
    }
    const [counter = '', head = ''] = text.trim().split(' ')
    const term = { counter: Number(counter), head }
    if (!Number.isSafeInteger(term.counter) || term.counter < 1 || !isNodeId(head))
      throw this.#damaged('it is not a term')
    return term
  }

  /** Resolves when the term would survive a loss of power. */
  async write({ counter, head }: Term): Promise<void> {
    const temporary = `${this.#file}.new`
    const handle = await open(temporary, 'w', 0o600)
    try {
      await handle.writeFile(`${counter} ${head}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, this.#file)
    const folder = await open(this.#directory, 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  }

  #damaged(why: string): NodeUnavailableError {
    return new NodeUnavailableError(
      `the node's state is damaged (${this.#file}): ${why}; if no other node of the mesh is running, delete that file`,
      { retryable: false, details: { file: this.#file } },
    )
  }
}
