import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { AnyClass, AnyFunction } from './any-function.ts'
import { loadedExports } from './code-files.ts'
import { pathIn } from './package-references.ts'
import { packageNameOf, type Script } from './script.ts'
import { sdkPathOf } from './sdk-files.ts'

/** CommonJS modules of the user. */

const { cache } = createRequire(import.meta.url)

/** The way to a function or class in what its CommonJS module exports: empty when it is all of that. */
export function commonJsPathOf(fn: AnyFunction | AnyClass, script: Script): string[] | undefined {
  const exports = loadedExports(script.url) ?? (script.isModule ? undefined : cache[script.file ?? '']?.exports)
  return exports === fn ? [] : pathIn(exports, fn)
}

/** What the module of that URL exports under a path of one name, or altogether. */
export function commonJsExport(url: string, path: readonly string[]): unknown {
  const exports = url.startsWith('file:') ? (cache[fileURLToPath(url)]?.exports as unknown) : undefined
  const [name] = path
  if (name === undefined || exports === null || exports === undefined) return exports
  return Object.getOwnPropertyDescriptor(exports, name)?.value
}

/**
 * True for a CommonJS module that can be loaded by itself: nothing that it requires leads in a ring, nor to the SDK or the
 * program.
 */
export function isSelfContained(file: string, mainFile: string | undefined): boolean {
  const module = cache[file]
  return module !== undefined && isWithoutRing(module, mainFile, new Set(), new Set())
}

function isWithoutRing(
  module: NodeModule,
  mainFile: string | undefined,
  above: Set<NodeModule>,
  done: Set<NodeModule>,
): boolean {
  const { filename, children } = module
  if (done.has(module) || packageNameOf(filename) !== undefined) return true
  if (above.has(module) || filename === mainFile || sdkPathOf(filename) !== undefined) return false
  above.add(module)
  const isWithout = children.every((child) => isWithoutRing(child, mainFile, above, done))
  above.delete(module)
  done.add(module)
  return isWithout
}
