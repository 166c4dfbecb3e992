import type { FileManifest, LibManifest } from './manifest.ts'

/**
 * The shipped code that this process has loaded, so that functions which were shipped here can be shipped on: their
 * imports are files that are here already.
 */

export interface LoadedFile extends FileManifest {
  /** Where the blob is. */
  path: string
  /** What the module is loaded as. */
  moduleUrl: string
}

/** What one of the values that a unit is called with stands for. */
export type Origin =
  | { type: 'lib'; form: 'namespace' | 'dynamic' | 'required'; lib: LibManifest }
  | { type: 'meta'; url: string }

/** By key. Bounded by the code of one job: a worker process serves one. */
const files = new Map<string, LoadedFile>()
const filesByUrl = new Map<string, LoadedFile>()
/** What CommonJS modules of the user have exported, by URL. */
const exportsByUrl = new Map<string, unknown>()
const unitUrls = new Set<string>()
const origins = new WeakMap<object, Origin>()
const namespaces = new Map<object, LibManifest>()

/** The first file of a key wins, so that a module has one instance. */
export function addLoadedFile(file: LoadedFile): void {
  if (files.has(file.key)) return
  files.set(file.key, file)
  filesByUrl.set(file.moduleUrl, file)
}

export function loadedFile(key: string): LoadedFile | undefined {
  return files.get(key)
}

export function loadedFileByUrl(url: string): LoadedFile | undefined {
  return filesByUrl.get(url)
}

/** Every file that the given ones reach, themselves included. */
export function loadedClosure(keys: Iterable<string>): LoadedFile[] {
  const found = new Map<string, LoadedFile>()
  const todo = [...keys]
  for (let key = todo.pop(); key !== undefined; key = todo.pop()) {
    const file = files.get(key)
    if (file === undefined || found.has(key)) continue
    found.set(key, file)
    todo.push(...file.dependencies)
  }
  return [...found.values()]
}

export function addLoadedExports(url: string, exports: unknown): void {
  exportsByUrl.set(url, exports)
}

/** What a CommonJS module that was shipped here has exported. */
export function loadedExports(url: string): unknown {
  return exportsByUrl.get(url)
}

export function addUnitUrl(url: string): void {
  unitUrls.add(url)
}

/** True when the module of that URL was made here, from a part of a driver's script. */
export function isUnitUrl(url: string): boolean {
  return unitUrls.has(url)
}

export function setOrigin(value: object, origin: Origin): void {
  if (!origins.has(value)) origins.set(value, origin)
  if (origin.type === 'lib' && origin.form !== 'dynamic') namespaces.set(value, origin.lib)
}

export function originOf(value: object): Origin | undefined {
  return origins.get(value)
}

/** The modules that shipped code has imported here. */
export function loadedNamespaces(): ReadonlyMap<object, LibManifest> {
  return namespaces
}
