import { createHash } from 'node:crypto'
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { NodeUnavailableError } from '../../protocols/errors.ts'

const headerBytesMax = 128
const contentBytesMax = {
  'identity.key': 32,
  'root.key': 32,
  credentials: 4096,
  tokens: 2 * 1024 * 1024,
  revocations: 2 * 1024 * 1024,
} as const

export type StateFileName = keyof typeof contentBytesMax

/** What gets lost with a file, and how to go on without it. */
const wayOut: Readonly<Record<StateFileName, string>> = {
  'identity.key': 'restore it from a backup, or remove the folder and join the mesh again as a new node',
  'root.key': 'restore it from a backup, or remove it: this node is then an admin like any other',
  credentials: 'restore it from a backup, or remove it and join the mesh again (the founder needs not join)',
  tokens: 'remove it and make new tokens',
  revocations: 'remove it: other nodes of the mesh will tell this one what it held',
}

// Windows has no such modes.
const hasModes = process.platform !== 'win32'

/**
 * The files of a node's membership, in a folder that only its user may read. A file is replaced as a whole or not at
 * all, and carries a checksum. Errors are NodeUnavailableErrors that name the file and the way out.
 */
export class StateFiles {
  readonly directory: string
  /** The write that comes after the one under way, by file. A later one takes its place. */
  readonly #next = new Map<StateFileName, { content: Uint8Array | undefined; done: Promise<void> }>()
  #last: Promise<void> = Promise.resolve()

  constructor(directory: string) {
    this.directory = directory
  }

  async open(): Promise<void> {
    try {
      await mkdir(this.directory, { recursive: true, mode: 0o700 })
      const { mode } = await stat(this.directory)
      if (!hasModes || (mode & 0o022) === 0) return
    } catch (error) {
      throw unavailable(`the state folder ${this.directory} cannot be used: ${(error as Error).message}`, error)
    }
    throw unavailable(
      `others may write to the state folder ${this.directory}: \`chmod 700 ${this.directory}\`, and see that nobody has put files there`,
    )
  }

  /** The content of a file; undefined when there is none. */
  async read(name: StateFileName): Promise<Uint8Array | undefined> {
    const file = path.join(this.directory, name)
    let bytes: Buffer
    let mode: number
    try {
      await using handle = await open(file, 'r')
      mode = (await handle.stat()).mode
      bytes = await readAtMost(handle, headerBytesMax + contentBytesMax[name] + 1)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw unavailable(`${file} cannot be read: ${(error as Error).message}`, error)
    }
    if (hasModes && (mode & 0o077) !== 0) {
      throw unavailable(`others may read or write ${file}, which is this node's secret: \`chmod 600 ${file}\``)
    }
    const headerEnd = bytes.subarray(0, headerBytesMax).indexOf(0x0a) + 1
    const content = bytes.subarray(headerEnd)
    if (bytes.toString('latin1', 0, headerEnd) !== headerOf(name, content)) throw this.#damaged(name)
    return Uint8Array.from(content)
  }

  /** Resolves when the new content is on the disk. Writes of one file that come while another waits become one. */
  write(name: StateFileName, content: Uint8Array): Promise<void> {
    return this.#enqueue(name, content)
  }

  remove(name: StateFileName): Promise<void> {
    return this.#enqueue(name, undefined)
  }

  /** Resolves when nothing is left to be written, be it because that failed. */
  async settled(): Promise<void> {
    await this.#last.catch(() => {})
  }

  /** Makes sense of a file's content. What that throws becomes an error that names the file. */
  parsed<T>(name: StateFileName, parse: () => T): T {
    try {
      return parse()
    } catch (error) {
      throw this.#damaged(name, error)
    }
  }

  #damaged(name: StateFileName, cause?: unknown): NodeUnavailableError {
    return unavailable(`${path.join(this.directory, name)} is damaged: ${wayOut[name]}`, cause)
  }

  #enqueue(name: StateFileName, content: Uint8Array | undefined): Promise<void> {
    const waiting = this.#next.get(name)
    if (waiting !== undefined) {
      waiting.content = content
      return waiting.done
    }
    const next = { content, done: Promise.resolve() }
    next.done = this.#last
      .catch(() => {})
      .then(() => {
        this.#next.delete(name)
        return next.content === undefined ? this.#remove(name) : this.#write(name, next.content)
      })
    this.#next.set(name, next)
    this.#last = next.done
    return next.done
  }

  async #write(name: StateFileName, content: Uint8Array): Promise<void> {
    const file = path.join(this.directory, name)
    const temporary = `${file}.new`
    try {
      await rm(temporary, { force: true })
      {
        await using handle = await open(temporary, 'wx', 0o600)
        await handle.writeFile(Buffer.concat([Buffer.from(headerOf(name, content), 'latin1'), content]))
        await handle.sync()
      }
      await rename(temporary, file)
      await this.#syncDirectory()
    } catch (error) {
      throw unavailable(`${file} cannot be written: ${(error as Error).message}`, error)
    }
  }

  async #remove(name: StateFileName): Promise<void> {
    const file = path.join(this.directory, name)
    try {
      await rm(file, { force: true })
      await this.#syncDirectory()
    } catch (error) {
      throw unavailable(`${file} cannot be removed: ${(error as Error).message}`, error)
    }
  }

  /** Without this a rename may be forgotten when the power fails. */
  async #syncDirectory(): Promise<void> {
    if (!hasModes) return
    await using handle = await open(this.directory, 'r')
    await handle.sync()
  }
}

/** A file that is longer than it may be is not read to its end. */
async function readAtMost(handle: FileHandle, bytesMax: number): Promise<Buffer> {
  const { size } = await handle.stat()
  const bytes = Buffer.alloc(Math.min(size, bytesMax))
  let filled = 0
  while (filled < bytes.length) {
    const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return bytes.subarray(0, filled)
}

function headerOf(name: StateFileName, content: Uint8Array): string {
  return `shoal ${name} 1 ${createHash('sha256').update(content).digest('hex')}\n`
}

function unavailable(message: string, cause?: unknown): NodeUnavailableError {
  return new NodeUnavailableError(message, { retryable: false, ...(cause === undefined ? {} : { cause }) })
}
