import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { setOrigin } from './code-files.ts'
import { sdkModuleUrl } from './code-hooks.ts'
import type { LibManifest } from './manifest.ts'

/** What `import.meta` is in a unit. */
export function makeMeta(url: string): object {
  const filename = url.startsWith('file:') ? fileURLToPath(url) : undefined
  const meta = {
    url,
    ...(filename === undefined ? {} : { filename, dirname: path.dirname(filename) }),
    main: false,
    resolve: (specifier: string) =>
      /^\.{0,2}\//.test(specifier) ? new URL(specifier, url).href : import.meta.resolve(specifier),
  }
  setOrigin(meta, { type: 'meta', url })
  return meta
}

type Namespace = Record<string, unknown>

/** The modules that a function imports. */
export class LoadedLibs {
  readonly #libs: readonly LibManifest[]
  readonly #modules = new Map<number, Namespace>()

  constructor(libs: readonly LibManifest[]) {
    this.#libs = libs
  }

  async load(indexes: Iterable<number>): Promise<void> {
    for (const index of indexes) await this.#import(index)
  }

  async #import(index: number): Promise<Namespace> {
    const have = this.#modules.get(index)
    if (have !== undefined) return have
    const lib = this.#lib(index)
    const module = (await import(urlOf(lib))) as Namespace
    const namespace = lib.kind === 'code' && 'module.exports' in module ? namespaceOf(module) : module
    setOrigin(namespace, { type: 'lib', form: 'namespace', lib })
    this.#modules.set(index, namespace)
    return namespace
  }

  namespace(index: number): Namespace {
    const module = this.#modules.get(index)
    if (module === undefined) throw new Error(`module ${index} of a shipped function is not loaded`)
    return module
  }

  /** What `import('literal')` becomes. */
  dynamic(index: number): () => Promise<Namespace> {
    const importer = (): Promise<Namespace> => this.#import(index)
    setOrigin(importer, { type: 'lib', form: 'dynamic', lib: this.#lib(index) })
    return importer
  }

  /** What `require('literal')` gives. */
  required(index: number): unknown {
    const namespace = this.namespace(index)
    const lib = this.#lib(index)
    const value =
      'module.exports' in namespace
        ? namespace['module.exports']
        : lib.kind === 'builtin'
          ? namespace['default']
          : namespace
    if ((typeof value === 'object' && value !== null) || typeof value === 'function') {
      setOrigin(value, { type: 'lib', form: 'required', lib })
    }
    return value
  }

  #lib(index: number): LibManifest {
    const lib = this.#libs[index]
    if (lib === undefined) throw new Error(`a shipped function has no module ${index}`)
    return lib
  }
}

/** CommonJS modules, of which only `module.exports` is known, look like Node shows them to ES modules. */
const commonJsNamespaces = new WeakMap<object, Namespace>()

function namespaceOf(module: Namespace): Namespace {
  let namespace = commonJsNamespaces.get(module)
  if (namespace === undefined) {
    const value = module['module.exports'] as Namespace
    const shown: Namespace = Object.create(null) as Namespace
    if ((typeof value === 'object' && value !== null) || typeof value === 'function') {
      for (const key of Object.keys(value)) {
        Object.defineProperty(shown, key, { get: () => value[key], enumerable: true, configurable: true })
      }
    }
    Object.defineProperty(shown, 'default', { value, enumerable: true, configurable: true })
    Object.defineProperty(shown, 'module.exports', { value })
    commonJsNamespaces.set(module, (namespace = shown))
  }
  return namespace
}

function urlOf(lib: LibManifest): string {
  switch (lib.kind) {
    case 'builtin':
      return `node:${lib.name}`
    case 'sdk':
      return sdkModuleUrl(lib.path)
    case 'external':
      return lib.url
    case 'code':
      return lib.key
  }
}
