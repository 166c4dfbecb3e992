import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { FunctionNotShippableError, NotSupportedError } from '../../protocols/errors.ts'
import type { AnyClass, AnyFunction } from './any-function.ts'
import { callSiteName } from './call-site-name.ts'
import { Capture, CaptureFailure, type ShippingHooks } from './capture.ts'
import type { CapturedFunction, CapturedUnit } from './captured.ts'
import { loadedClosure } from './code-files.ts'
import { emitUnit } from './emit.ts'
import { ImportBuilder } from './import-builder.ts'
import { InspectorUnavailableError, warmUpDebugger } from './inspect.ts'
import { builtinOf, globalPathOf } from './known-values.ts'
import type { FileManifest, FunctionKind, FunctionManifest, LibManifest, UnitManifest } from './manifest.ts'
import { Refusal } from './refusal.ts'
import { ScriptSyntax } from './script-syntax.ts'

/** A function that is ready to be sent. */
export interface ShippedFunction {
  name: string
  kind: FunctionKind
  /** Plain data, and captured handles as they are. */
  manifest: FunctionManifest
  /** The code that the manifest names, by sha256. */
  blobs: Map<string, Uint8Array>
  /** The handles that the function closes over. */
  handles: unknown[]
}

const builder = new ImportBuilder()

/**
 * Takes a snapshot of a function and all that it closes over. Throws FunctionNotShippableError when something of it
 * cannot travel; the message names it, where it is, how it was reached and what to do.
 */
export function captureFunction(
  fn: AnyFunction | AnyClass | Function,
  options: { name?: string; hooks: ShippingHooks },
): CapturedFunction {
  let name = options.name || fn.name || 'anonymous'
  try {
    if (name === 'anonymous') name = callSiteName(fn as AnyFunction) ?? name
    return new Capture(options.hooks).run(fn as AnyFunction, name)
  } catch (error) {
    if (error instanceof CaptureFailure) {
      const { reason, fix } = error.refusal
      throw new FunctionNotShippableError(error.message, { function: name, reason, fix })
    }
    if (error instanceof InspectorUnavailableError) {
      throw new NotSupportedError(
        `cannot read what \`${name}\` closes over: ${error.message}. Shoal uses Node's inspector for this; under the permission model start node with --allow-inspector`,
      )
    }
    throw error
  }
}

/** Bundles what a captured function imports. Throws FunctionNotShippableError for an import that cannot travel. */
export async function buildFunction(captured: CapturedFunction): Promise<ShippedFunction> {
  const requests = captured.libs.flatMap((lib) => ('request' in lib ? [lib.request] : []))
  const built = await builder.build(requests).catch((error: unknown) => {
    throw error instanceof Refusal ? refusedImport(captured, error) : error
  })
  let next = 0
  const libs = captured.libs.map((lib) => ('lib' in lib ? lib.lib : (built.libs[next++] as LibManifest)))
  const blobs = new Map<string, Uint8Array>()
  const files: FileManifest[] = []
  for (const { key, code, dependencies, url, text } of built.files) {
    blobs.set(code, Buffer.from(text))
    files.push({ key, code, dependencies, ...(url === undefined ? {} : { url }) })
  }
  addLoadedFiles(libs, files, blobs)
  const units = captured.units.map((unit) => shipUnit(unit, blobs))
  const { name, kind, main, handles } = captured
  const manifest: FunctionManifest = {
    name,
    kind,
    main,
    nodes: [...captured.nodes],
    scopes: [...captured.scopes],
    units,
    libs,
    files,
    externals: withExternalLibs(built.externals, libs),
  }
  return { name, kind, manifest, blobs, handles: [...handles] }
}

/** Code that was shipped to this process goes on as it came. */
function addLoadedFiles(libs: readonly LibManifest[], files: FileManifest[], blobs: Map<string, Uint8Array>): void {
  const keys = libs.flatMap((lib) => (lib.kind === 'code' ? [lib.key] : []))
  for (const { key, code, dependencies, url, path } of loadedClosure(keys)) {
    if (files.some((file) => file.key === key)) continue
    blobs.set(code, readFileSync(path))
    files.push({ key, code, dependencies, ...(url === undefined ? {} : { url }) })
  }
}

function shipUnit(unit: CapturedUnit, blobs: Map<string, Uint8Array>): UnitManifest {
  const emitted = emitUnit(unit)
  const content = Buffer.from(emitted.code)
  const code = createHash('sha256').update(content).digest('hex')
  blobs.set(code, content)
  const { imported, dynamic, required } = emitted
  const values = emitted.values.map((name): UnitManifest['values'][number] => [
    name,
    unit.values.get(name)?.ref ?? [undefined],
  ])
  return { code, url: unit.script.url, imported, dynamic, required, values, after: unit.after }
}

function withExternalLibs(
  externals: FunctionManifest['externals'],
  libs: readonly LibManifest[],
): FunctionManifest['externals'] {
  const all = new Map(externals.map((external) => [external.url, external]))
  for (const lib of libs) {
    if (lib.kind === 'external' && !all.has(lib.url)) {
      const { kind: _, ...external } = lib
      all.set(lib.url, external)
    }
  }
  return [...all.values()]
}

function refusedImport({ name, at }: CapturedFunction, { reason, fix, at: where }: Refusal): FunctionNotShippableError {
  const own = at === undefined ? '' : ` (${at})`
  const message = `cannot ship \`${name}\`${own} to a worker: ${reason}${where === undefined ? '' : ` (${where})`}\n  fix: ${fix}`
  return new FunctionNotShippableError(message, { function: name, reason, fix })
}

/** Ends the bundler's process, so that the program can end. It starts again when it is needed. */
export async function stopBundler(): Promise<void> {
  await builder.stop()
}

/** Does ahead of the first call what only the first call has to do. */
export async function prewarmShipping(): Promise<void> {
  try {
    warmUpDebugger()
    globalPathOf(undefined)
    builtinOf(undefined)
    new ScriptSyntax('export const warm = (x) => x', true, false)
  } catch {
    // Whatever it is will be told when a function is captured.
  }
  await builder.warmUp()
}
