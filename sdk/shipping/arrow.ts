import { createRequire, findPackageJSON } from 'node:module'
import { pathToFileURL } from 'node:url'
import type { AnyFunction } from './any-function.ts'
import { loadedNamespaces } from './code-files.ts'
import { originOfFunction } from './copyability.ts'
import { packageOf } from './external-packages.ts'
import { mainModuleOf } from './main-module.ts'

/**
 * Apache Arrow's tables are instances of a package's class, which as such cannot travel. They have a form of their own for
 * that, which the package writes and reads: the one that the program has loaded itself.
 */

export interface ArrowModule {
  /** The table as a stream of messages. */
  tableToIPC(table: object): Uint8Array
  /** A table whose columns are views on the bytes. */
  tableFromIPC(bytes: Uint8Array): object
}

const packageName = 'apache-arrow'
const modulesByClass = new WeakMap<object, ArrowModule>()

/** The package that made a table. Undefined for what is no table of Apache Arrow. */
export function arrowModuleOf(value: object): ArrowModule | undefined {
  const cls: unknown = (value as { constructor?: unknown }).constructor
  if (typeof cls !== 'function' || !Object.hasOwn(value, 'schema') || !Object.hasOwn(value, 'batches')) return undefined
  const known = modulesByClass.get(cls)
  if (known !== undefined) return known
  const found = shippedModule((namespace) => namespace['Table'] === cls) ?? installedModule(cls)
  if (found !== undefined) modulesByClass.set(cls, found)
  return found
}

/** Reads a table with a function of the package, which is remembered for tables of the class that it makes. */
export function readTable(tableFromIPC: AnyFunction, bytes: Uint8Array): object {
  const table = (tableFromIPC as unknown as ArrowModule['tableFromIPC'])(bytes)
  const { constructor: cls } = table
  if (!modulesByClass.has(cls)) {
    const found = shippedModule((namespace) => namespace['tableFromIPC'] === tableFromIPC)
    if (found !== undefined) modulesByClass.set(cls, found)
  }
  return table
}

/** The package as it came here with code that was shipped. */
export function shippedModule(
  isIt: (namespace: Record<string, unknown>) => boolean = () => true,
): ArrowModule | undefined {
  for (const namespace of loadedNamespaces().keys()) {
    if (isArrow(namespace) && isIt(namespace)) return namespace
  }
  return undefined
}

function isArrow(namespace: object): namespace is ArrowModule & Record<string, unknown> {
  const { tableToIPC, tableFromIPC } = namespace as Partial<ArrowModule>
  return typeof tableToIPC === 'function' && typeof tableFromIPC === 'function'
}

/** The package that a class comes from, as it is installed. */
function installedModule(cls: Function): ArrowModule | undefined {
  const { script } = originOfFunction(cls)
  if (script?.packageName !== packageName || script.file === undefined) return undefined
  return asArrow(mainModuleOf(script.file, script.isModule ? 'import' : 'require')?.exports)
}

/** The package as the program itself would import it. */
export function importedArrow(mainFile: string | undefined): ArrowModule | undefined {
  try {
    const manifest = mainFile === undefined ? undefined : findPackageJSON(packageName, pathToFileURL(mainFile))
    if (manifest === undefined) return undefined
    const isRequired = Object.keys(createRequire(manifest).cache).some((file) => packageOf(file)?.name === packageName)
    const main = mainModuleOf(manifest, isRequired ? 'require' : 'import')
    return asArrow(main?.exports)
  } catch {
    return undefined
  }
}

function asArrow(namespace: unknown): ArrowModule | undefined {
  return typeof namespace === 'object' && namespace !== null && isArrow(namespace) ? namespace : undefined
}
