/** The worker process of the shipping tests: rebuilds functions and runs them. It knows none of the drivers' files. */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { buildFunction, captureFunction, classId } from '../../../sdk/shipping/index.ts'
import { FunctionLoader, type FunctionLoaderOptions } from '../../../sdk/shipping/instantiate.ts'
import type { FunctionManifest } from '../../../sdk/shipping/manifest.ts'
import { classById, registeredClassId } from '../../../sdk/shipping/class-registry.ts'

declare global {
  namespace NodeJS {
    /** What tasks of the tests can call: every process has `process`, so that it is not captured. */
    interface Process {
      /** What `remote()` does inside of a task: captures a function that was shipped here, and ships it on. */
      shipOn(fn: (...args: never[]) => unknown, ...args: unknown[]): Promise<unknown>
      classIdOnWorker(cls: unknown): string | undefined
      idOfAnyOnWorker(cls: unknown): string
      classByIdOnWorker(id: string): unknown
    }
  }
}

export interface ShipRequest {
  id: number
  manifest: FunctionManifest
  blobs: Map<string, Uint8Array>
  args: unknown[]
  isClass: boolean
}

export type ShipReply =
  | { id: number; value: unknown }
  | { id: number; error: { name: string; message: string; stack: string } }

process.setSourceMapsEnabled(true)
const options: FunctionLoaderOptions = { codeDirectory: process.argv[2] ?? '', sdkUrl: process.argv[3] ?? '' }
mkdirSync(options.codeDirectory, { recursive: true })
const loader = new FunctionLoader(options)

type AnyFunction = (...args: unknown[]) => unknown

async function load(manifest: FunctionManifest, blobs: Map<string, Uint8Array>): Promise<AnyFunction> {
  for (const [hash, content] of blobs) writeFileSync(path.join(options.codeDirectory, `${hash}.mjs`), content)
  return (await loader.instantiate(structuredClone(manifest))) as AnyFunction
}

async function shipOn(fn: AnyFunction, ...args: unknown[]): Promise<unknown> {
  const captured = captureFunction(fn, { hooks: { isHandle: isTestHandle } })
  const { manifest, blobs } = await buildFunction(captured)
  return { shipped: { manifest, blobs }, args }
}

function isTestHandle(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'isTestHandle' in value
}

Object.assign(process, {
  shipOn,
  classIdOnWorker: registeredClassId,
  idOfAnyOnWorker: classId,
  classByIdOnWorker: classById,
})

process.on('message', (request: ShipRequest) => void answer(request))

async function answer({ id, manifest, blobs, args, isClass }: ShipRequest): Promise<void> {
  let reply: ShipReply
  try {
    const fn = await load(manifest, blobs)
    // As the SDK does, for functions that call themselves remotely.
    Object.defineProperty(fn, 'remote', { value: (...rest: unknown[]) => ['remote', ...rest], configurable: true })
    reply = { id, value: isClass ? 'class' : await drain(await fn(...args)) }
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    reply = { id, error: { name: error.name, message: error.message, stack: error.stack ?? '' } }
  }
  try {
    process.send?.(reply)
  } catch (error) {
    process.send?.({ id, error: { name: 'SendError', message: String(error), stack: '' } })
  }
}

/** Generators come back as lists. */
async function drain(value: unknown): Promise<unknown> {
  if (typeof value !== 'object' || value === null || !('next' in value)) return value
  const items: unknown[] = []
  for await (const item of value as unknown as AsyncIterable<unknown>) items.push(item)
  return items
}
