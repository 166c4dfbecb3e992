import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  InvalidArgumentError,
  MembershipError,
  NodeUnavailableError,
  UnreachableError,
  type ShoalError,
} from '../../protocols/errors.ts'

export interface EmbeddedNodeOptions {
  cpus?: number | undefined
  gpus?: number | undefined
  memoryBytes?: number | undefined
  resources?: Readonly<Record<string, number>> | undefined
  /** The token of a mesh to join. */
  join?: string | undefined
}

/** How long a node may take to start. */
const startTimeoutMs = 30_000
/** How long it may take to stop, until it is killed; its guardian clears up then. */
const stopTimeoutMs = 5000

/** A node of this program's own: its process ends with the program, however that ends. */
export class EmbeddedNode {
  readonly socketPath: string
  readonly #child: ChildProcess
  readonly #directory: string

  private constructor(child: ChildProcess, directory: string, socketPath: string) {
    this.#child = child
    this.#directory = directory
    this.socketPath = socketPath
  }

  /** Starts a node and waits until it takes connections. Rejects with NodeUnavailableError. */
  static async start(options: EmbeddedNodeOptions): Promise<EmbeddedNode> {
    const directory = mkdtempSync(path.join(tmpdir(), 'shoal-embedded-'))
    const extension = path.extname(fileURLToPath(import.meta.url))
    const entry = fileURLToPath(new URL(`../../node/main${extension}`, import.meta.url))
    // A token must not stand on a command line, where others can read it: it is the first line of standard input.
    const { join, ...rest } = options
    const config = {
      ...rest,
      runtimeDirectory: directory,
      embedded: true,
      ...(join === undefined ? {} : { join: '-' }),
    }
    // The node ends when its standard input does, which is when this process is gone. Ctrl-C is for this process.
    const child = spawn(process.execPath, [entry, JSON.stringify(config)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    })
    child.stdin.on('error', () => undefined)
    if (join !== undefined) child.stdin.write(`${join}\n`)
    try {
      const { socketPath } = await firstLine(child)
      child.unref()
      for (const stream of [child.stdin, child.stdout]) (stream as unknown as { unref(): void }).unref()
      return new EmbeddedNode(child, directory, socketPath)
    } catch (error) {
      child.kill('SIGKILL')
      rmSync(directory, { recursive: true, force: true })
      throw error
    }
  }

  /** Stops the node and waits until it is gone. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#child.ref()
      this.#child.once('exit', () => resolve())
      this.#child.stdin?.end()
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopTimeoutMs)
      await promise
      clearTimeout(timer)
    }
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

interface ReadyLine {
  socketPath: string
}

/** Why it could not be let in is told as it is; the rest is about the node. */
function startError({ code, message }: { code: string; message: string }): ShoalError {
  if (code === 'MEMBERSHIP') return new MembershipError(message)
  if (code === 'UNREACHABLE') return new UnreachableError(message)
  if (code === 'INVALID_ARGUMENT') return new InvalidArgumentError(message)
  return new NodeUnavailableError(`the embedded node could not start: ${message}`)
}

async function firstLine(child: ChildProcess): Promise<ReadyLine> {
  const { promise, resolve, reject } = Promise.withResolvers<ReadyLine>()
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const timer = setTimeout(
    () => reject(new NodeUnavailableError(`the embedded node did not start within ${startTimeoutMs} ms`)),
    startTimeoutMs,
  )
  lines.on('line', (line) => {
    try {
      const said = JSON.parse(line) as { error?: { code: string; message: string } } & ReadyLine
      if (said.error === undefined) resolve(said)
      else reject(startError(said.error))
    } catch {
      reject(new NodeUnavailableError(`the embedded node could not start: ${line}`))
    }
  })
  child.once('error', (cause) => reject(new NodeUnavailableError('the embedded node could not start', { cause })))
  child.once('exit', (code, signal) =>
    reject(new NodeUnavailableError(`the embedded node ended while it started (${signal ?? `exit code ${code}`})`)),
  )
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    lines.close()
  }
}
