import { fork, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildFunction, captureFunction, stopBundler, type FunctionManifest } from '../../../sdk/shipping/index.ts'
import type { ShipReply } from './shipping-worker.ts'

/** Stands for a ref or a remote function. */
export class TestHandle {
  readonly isTestHandle = true
  readonly id: number
  constructor(id: number) {
    this.id = id
  }
}

export const hooks = {
  isHandle: (value: unknown): boolean => value instanceof TestHandle,
}

/** What a shipped function threw. */
export class ShippedError extends Error {
  readonly workerName: string
  readonly workerStack: string
  constructor({ name, message, stack }: { name: string; message: string; stack: string }) {
    super(message)
    this.workerName = name
    this.workerStack = stack
  }
}

interface Sent {
  manifest: FunctionManifest
  blobs: Map<string, Uint8Array>
}

/** A worker process that functions are shipped to. */
export class ShipWorker {
  readonly #child: ChildProcess
  readonly #directory = mkdtempSync(path.join(tmpdir(), 'shoal-shipping-'))
  readonly #waiting = new Map<number, (reply: ShipReply) => void>()
  #next = 0

  constructor() {
    const program = fileURLToPath(new URL('./shipping-worker.ts', import.meta.url))
    const sdkUrl = new URL('./fixtures/fake-sdk.ts', import.meta.url).href
    this.#child = fork(program, [this.#directory, sdkUrl], {
      serialization: 'advanced',
      cwd: this.#directory,
      execArgv: [],
    })
    this.#child.on('message', (reply: ShipReply) => {
      this.#waiting.get(reply.id)?.(reply)
      this.#waiting.delete(reply.id)
    })
    this.#child.on('exit', (code) => {
      for (const [id, resolve] of this.#waiting)
        resolve({ id, error: { name: 'Exit', message: `exit ${code}`, stack: '' } })
    })
  }

  /** Ships a function and calls it there. A function that ships another one on has that shipped too. */
  async run(fn: (...args: never[]) => unknown, ...args: unknown[]): Promise<unknown> {
    return this.runThrough([], fn, ...args)
  }

  /** The same, but what is shipped on goes to the next of the workers. */
  async runThrough(
    next: readonly ShipWorker[],
    fn: (...args: never[]) => unknown,
    ...args: unknown[]
  ): Promise<unknown> {
    return this.send(await buildFunction(captureFunction(fn, { hooks })), args, next)
  }

  async send({ manifest, blobs }: Sent, args: unknown[], next: readonly ShipWorker[] = []): Promise<unknown> {
    const isClass = manifest.kind === 'class'
    const { promise, resolve } = Promise.withResolvers<ShipReply>()
    const id = this.#next++
    this.#waiting.set(id, resolve)
    this.#child.send({ id, manifest, blobs, args, isClass })
    const reply = await promise
    if ('error' in reply) throw new ShippedError(reply.error)
    const { value } = reply
    if (typeof value === 'object' && value !== null && 'shipped' in value) {
      const nested = value as unknown as { shipped: Sent; args: unknown[] }
      const [worker = this, ...rest] = next
      return worker.send(nested.shipped, nested.args, rest)
    }
    return value
  }

  async stop(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#child.once('exit', () => resolve())
    this.#child.kill()
    await promise
    rmSync(this.#directory, { recursive: true, force: true })
    await stopBundler()
  }
}
