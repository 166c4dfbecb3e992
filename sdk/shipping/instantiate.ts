import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { addLoadedFile, addUnitUrl } from './code-files.ts'
import { installCodeHooks, moduleUrlOf } from './code-hooks.ts'
import { GraphDecoder } from './graph-decoder.ts'
import { LoadedLibs, makeMeta } from './loaded-libs.ts'
import type { FunctionManifest, UnitManifest } from './manifest.ts'
import type { AnyFunction } from './any-function.ts'
import { UnitRuntime, type UnitModule } from './unit-runtime.ts'

export interface FunctionLoaderOptions {
  /** Holds the blobs as files named `<sha256>.mjs` when `instantiate` is called. */
  codeDirectory: string
  /** The module that `import ... from 'shoal'` means in shipped code. */
  sdkUrl: string
}

/**
 * Rebuilds shipped functions in this process. All loaders of a process share modules and classes: a user's file and a
 * user's class exist once.
 */
export class FunctionLoader {
  readonly #codeDirectory: string

  constructor(options: FunctionLoaderOptions) {
    this.#codeDirectory = options.codeDirectory
    installCodeHooks(options.sdkUrl)
  }

  async instantiate(manifest: FunctionManifest): Promise<AnyFunction> {
    for (const file of manifest.files) {
      const at = this.#pathOf(file.code)
      addLoadedFile({ ...file, path: at, moduleUrl: moduleUrlOf(file, at) })
    }
    const libs = new LoadedLibs(manifest.libs)
    const decoder = new GraphDecoder(manifest, libs)
    await libs.load(neededLibs(manifest))
    for (const unit of manifest.units) decoder.units.push(await this.#start(unit, libs, decoder))
    // What a unit needs of others was discovered after it.
    for (const unit of decoder.units.toReversed()) await unit.finish()
    const main = decoder.decodeAll(manifest.main) as AnyFunction
    decoder.finish()
    return main
  }

  async #start(unit: UnitManifest, libs: LoadedLibs, decoder: GraphDecoder): Promise<UnitRuntime> {
    const url = pathToFileURL(this.#pathOf(unit.code)).href
    addUnitUrl(url)
    const module = (await import(url)) as UnitModule
    const runtime = new UnitRuntime(unit, decoder)
    runtime.start(module, [
      makeMeta(unit.url),
      ...unit.imported.map((lib) => libs.namespace(lib)),
      ...unit.dynamic.map((lib) => libs.dynamic(lib)),
      ...unit.required.map((lib) => () => libs.required(lib)),
    ])
    return runtime
  }

  #pathOf(hash: string): string {
    return path.join(this.#codeDirectory, `${hash}.mjs`)
  }
}

/** All but those that are only imported by `import()`. */
function neededLibs(manifest: FunctionManifest): Set<number> {
  const needed = new Set<number>()
  for (const unit of manifest.units) for (const lib of [...unit.imported, ...unit.required]) needed.add(lib)
  for (const node of manifest.nodes) {
    if (node.type === 'export' || (node.type === 'lib' && node.form !== 'dynamic')) needed.add(node.lib)
  }
  return needed
}
