import { createRequire } from 'node:module'
import { sourceTextOf, type AnyFunction } from './any-function.ts'
import type { CapturedUnit, ImportRequest } from './captured.ts'
import { loadedNamespaces } from './code-files.ts'
import type { InspectedFunction } from './inspect.ts'
import { mainModuleOf } from './main-module.ts'
import type { LibManifest } from './manifest.ts'
import type { Script } from './script.ts'

/** How a worker gets at a function of a package: a module, and the way to the function in it. */
export type PackageReference = {
  form: 'namespace' | 'required'
  path: string[]
} & ({ request: ImportRequest } | { lib: LibManifest })

/**
 * Finds the name of a package's function: as the user's own files import it, as shipped code does, or as the file that
 * it is in exports it.
 */
export function packageReferenceTo(
  fn: AnyFunction,
  script: Script,
  inspected: InspectedFunction,
  units: readonly CapturedUnit[],
): PackageReference | undefined {
  for (const unit of units) {
    const found = throughImports(fn, unit)
    if (found !== undefined) return found
  }
  for (const [namespace, lib] of loadedNamespaces()) {
    const path = pathIn(namespace, fn)
    if (path !== undefined) return { lib, form: 'namespace', path }
  }
  return throughFile(fn, script, inspected)
}

function throughImports(fn: AnyFunction, { script, liveScopes }: CapturedUnit): PackageReference | undefined {
  for (const [name, { imported, declaration }] of script.syntax.roots) {
    if (imported === undefined || /^(\.|node:)/.test(imported.specifier)) continue
    const value = liveScopes.findLast((scope) => name in scope)?.[name]
    const path = value === fn ? [] : pathIn(value, fn)
    if (path === undefined) continue
    const { specifier } = imported
    const at = script.where(declaration.start)
    const full = imported.name === '*' ? path : [imported.name, ...path]
    return { request: { specifier, directory: script.directory, form: 'import', at }, form: 'namespace', path: full }
  }
  return undefined
}

/** The name of a direct property, or of one of the default export's. */
export function pathIn(holder: unknown, fn: unknown): string[] | undefined {
  if ((typeof holder !== 'object' && typeof holder !== 'function') || holder === null) return undefined
  for (const [key, { value }] of Object.entries(Object.getOwnPropertyDescriptors(holder)))
    if (value === fn) return [key]
  return undefined
}

function throughFile(fn: AnyFunction, script: Script, inspected: InspectedFunction): PackageReference | undefined {
  const { file, directory } = script
  if (file === undefined) return undefined
  const at = file
  const form = script.isModule ? 'import' : 'require'
  // As others import it, if possible: a package that is bundled twice, from two of its files, has two of everything.
  const main = mainModuleOf(file, form)
  const way = main === undefined ? undefined : main.exports === fn ? [] : pathIn(main.exports, fn)
  if (main !== undefined && way !== undefined) {
    const reference = { request: { specifier: main.name, directory, form, at }, path: way } as const
    return { ...reference, form: script.isModule ? 'namespace' : 'required' }
  }
  if (script.isModule) {
    const site = script.syntax.findSite(inspected.line, inspected.column, sourceTextOf(fn))
    const name = site === undefined ? undefined : script.syntax.exportNameOf(site.node)
    if (name === undefined) return undefined
    return { request: { specifier: file, directory, form, at }, form: 'namespace', path: [name] }
  }
  const exports: unknown = createRequire(import.meta.url).cache[file]?.exports
  const path = exports === fn ? [] : pathIn(exports, fn)
  if (path === undefined) return undefined
  return { request: { specifier: file, directory, form, at }, form: 'required', path }
}
