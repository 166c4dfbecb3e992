import type { BuildFailure, BuildResult, Metafile, Plugin } from 'esbuild'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ImportRequest } from './captured.ts'
import { esbuildOptions, escapeForRegExp, loadEsbuild, type Esbuild } from './esbuild.ts'
import { externalPackage } from './external-packages.ts'
import { buildFiles, keyOf, type BuiltFile } from './file-builder.ts'
import { ImportGraph } from './import-graph.ts'
import type { ExternalPackage, LibManifest } from './manifest.ts'
import { Refusal } from './refusal.ts'
import { relativeToHere } from './script.ts'
import { sdkDirectories, sdkName } from './sdk-files.ts'

/** Imports that were found and built. */
export interface BuiltImports {
  libs: LibManifest[]
  files: BuiltFile[]
  externals: ExternalPackage[]
}

interface Batch {
  requests: ImportRequest[]
  done: Promise<void>
}

/** Bundles what shipped functions import. What has been built once is not built again. */
export class ImportBuilder {
  readonly #graph = new ImportGraph()
  readonly #resolved = new Map<string, string>()
  readonly #built = new Map<string, BuiltFile>()
  #esbuild: Promise<Esbuild> | undefined
  #batch: Batch | undefined
  #last: Promise<unknown> = Promise.resolve()

  /** Finds and builds imports. Throws a Refusal that names the import that is wrong. */
  async build(requests: readonly ImportRequest[]): Promise<BuiltImports> {
    const fresh = requests.filter((request) => !this.#resolved.has(requestKey(request)))
    if (fresh.length > 0) {
      await this.#join(fresh.flatMap((request) => [request, ...alongside(request)])).catch(() => undefined)
      // In a batch of many functions one wrong import must not fail the others: look at ours alone.
      if (fresh.some((request) => !this.#resolved.has(requestKey(request))))
        await this.#exclusive(() => this.#scan(fresh))
    }
    const entries = requests.map((request) => this.#resolved.get(requestKey(request)) as string)
    await this.#exclusive(() => this.#buildMissing(entries))
    return this.#collect(requests, entries)
  }

  /** Loads esbuild and starts its process. */
  async warmUp(): Promise<void> {
    const esbuild = await this.#load()
    await esbuild.transform('')
  }

  async stop(): Promise<void> {
    const esbuild = await this.#esbuild
    await this.#last
    await esbuild?.stop()
  }

  #load(): Promise<Esbuild> {
    this.#esbuild ??= loadEsbuild()
    return this.#esbuild
  }

  /** Requests that are made in one go are looked for together. */
  #join(requests: readonly ImportRequest[]): Promise<void> {
    if (this.#batch === undefined) {
      const batch: Batch = { requests: [], done: Promise.resolve() }
      this.#batch = batch
      batch.done = this.#exclusive(() => {
        this.#batch = undefined
        return this.#scan(batch.requests)
      })
    }
    this.#batch.requests.push(...requests)
    return this.#batch.done
  }

  /** One build at a time: they build on each other. */
  #exclusive<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#last.then(run)
    this.#last = result.catch(() => undefined)
    return result
  }

  /** Finds all files that the requests reach. */
  async #scan(requests: readonly ImportRequest[]): Promise<void> {
    const missing = requests.filter((request) => !this.#resolved.has(requestKey(request)))
    if (missing.length === 0) return
    const { metafile, workingDirectory } = await this.#runScan(missing, [])
    this.#graph.add(metafile, workingDirectory)
    missing.forEach((request, i) => {
      const input = Object.entries(metafile.inputs).find(([name]) => name.endsWith(`shoal-entry:${i}`))?.[1]
      const found = input?.imports[0]
      if (found === undefined) return
      const file = path.resolve(workingDirectory, found.path)
      if (file.endsWith('.node')) throw nativeRefusal(request.specifier, request.at)
      this.#refuseNative(file, request)
      this.#resolved.set(requestKey(request), file)
    })
  }

  async #runScan(
    requests: readonly ImportRequest[],
    optional: readonly string[],
  ): Promise<{ metafile: Metafile; workingDirectory: string }> {
    const { build } = await this.#load()
    const workingDirectory = process.cwd()
    try {
      const { metafile } = (await build({
        ...esbuildOptions,
        entryPoints: requests.map((_, i) => `shoal-entry:${i}`),
        outdir: '/',
        absWorkingDir: workingDirectory,
        external: [sdkName, `${sdkName}/*`, 'shoal-sdk:*', ...optional],
        plugins: [scanPlugin(requests)],
      })) as BuildResult & { metafile: Metafile }
      return { metafile, workingDirectory }
    } catch (error) {
      const unfound = unfoundInPackages(error as BuildFailure).filter((specifier) => !optional.includes(specifier))
      // A package may try to load what is not installed, and live with that.
      if (unfound.length > 0) return this.#runScan(requests, [...optional, ...unfound])
      throw refusalOfFailure(error as BuildFailure, requests)
    }
  }

  /** A compiled addon that is no part of a package cannot be found on another machine. */
  #refuseNative(entry: string, request: ImportRequest): void {
    for (const file of this.#graph.reach([entry])) {
      const found = this.#graph.file(file)
      if (found === undefined || found.package !== undefined) continue
      const native = found.imports.find(({ file: to }) => to?.endsWith('.node') && !to.includes('node_modules'))
      if (native !== undefined) throw nativeRefusal(native.specifier, relativeToHere(file))
    }
    if (entry.endsWith('.node')) throw nativeRefusal(request.specifier, request.at)
  }

  async #buildMissing(entries: readonly string[]): Promise<void> {
    const missing = [...this.#bundlesOf(entries)].filter((file) => !this.#built.has(keyOf(this.#graph.file(file))))
    if (missing.length === 0) return
    for (const built of await buildFiles(await this.#load(), this.#graph, missing)) this.#built.set(built.key, built)
    for (const file of missing) this.#graph.addBundled(file)
  }

  /** The files that are imported from outside of their bundle, or will be. */
  #bundlesOf(entries: readonly string[]): Set<string> {
    const found = this.#importedFromOutside(entries)
    const packages = new Set([...found].map((file) => this.#graph.file(file)?.package))
    for (const file of this.#resolved.values()) {
      const other = this.#graph.file(file)
      if (other?.package !== undefined && packages.has(other.package) && !this.#graph.isExternal(file)) found.add(file)
    }
    return found
  }

  #importedFromOutside(entries: readonly string[]): Set<string> {
    const found = new Set(entries.filter((file) => !this.#graph.isExternal(file)))
    for (const name of this.#graph.reach(entries)) {
      const importer = this.#graph.file(name)
      if (importer === undefined || this.#graph.isExternal(name)) continue
      for (const { file } of importer.imports) {
        const imported = file === undefined ? undefined : this.#graph.file(file)
        if (imported === undefined || this.#graph.isExternal(imported.file)) continue
        if (!this.#graph.isTogether(importer, imported)) found.add(imported.file)
      }
    }
    return found
  }

  #collect(requests: readonly ImportRequest[], entries: readonly string[]): BuiltImports {
    const files = new Map<string, BuiltFile>()
    const externals = new Map<string, ExternalPackage>()
    const visit = (key: string): void => {
      const built = this.#built.get(key)
      if (built === undefined || files.has(key)) return
      files.set(key, built)
      for (const external of built.externals) externals.set(external.url, external)
      for (const dependency of built.dependencies) visit(dependency)
    }
    const libs = entries.map((entry, i): LibManifest => {
      if (this.#graph.isExternal(entry)) {
        const external = externalPackage(requests[i]?.specifier ?? '', entry)
        externals.set(external.url, external)
        return { kind: 'external', ...external }
      }
      const key = keyOf(this.#graph.file(entry))
      visit(key)
      return { kind: 'code', key }
    })
    return { libs, files: [...files.values()], externals: [...externals.values()] }
  }
}

/** What else the same file imports from the same package. */
function alongside({ alongside: others = [], directory, form, at }: ImportRequest): ImportRequest[] {
  return others.map((specifier) => ({ specifier, directory, form, at }))
}

function requestKey({ specifier, directory, form }: ImportRequest): string {
  return JSON.stringify([form, specifier, directory])
}

/** Makes each request a module that imports just that. */
function scanPlugin(requests: readonly ImportRequest[]): Plugin {
  const sdk = sdkDirectories.map((directory) => escapeForRegExp(directory)).join('|')
  return {
    name: 'shoal-scan',
    setup(build) {
      build.onResolve({ filter: /^shoal-entry:/ }, ({ path: name }) => ({
        path: name.slice(12),
        namespace: 'shoal-entry',
      }))
      build.onLoad({ filter: /.*/, namespace: 'shoal-entry' }, ({ path: index }) => {
        const request = requests[Number(index)]
        if (request === undefined) return { contents: '' }
        const isUrl = request.specifier.startsWith('file:')
        const specifier = JSON.stringify(isUrl ? fileURLToPath(request.specifier) : request.specifier)
        const contents = request.form === 'require' ? `require(${specifier})` : `export * as it from ${specifier}`
        return { contents, resolveDir: request.directory, loader: 'js' }
      })
      // Every worker has the SDK; what is imported from it is of no interest here.
      build.onLoad({ filter: new RegExp(`^(${sdk})`) }, () => ({ contents: 'module.exports = {}', loader: 'js' }))
    },
  }
}

function unfoundInPackages(failure: Partial<BuildFailure>): string[] {
  return (failure.errors ?? []).flatMap(({ text, location }) => {
    const specifier = /^Could not resolve "(.+)"$/.exec(text)?.[1]
    return specifier !== undefined && location?.file.includes('node_modules/') ? [specifier] : []
  })
}

function refusalOfFailure(failure: BuildFailure, requests: readonly ImportRequest[]): Refusal | Error {
  const error = failure.errors?.find(({ location }) => !location?.file.includes('node_modules/')) ?? failure.errors?.[0]
  if (error === undefined) return failure
  const { text, location } = error
  const entry = /shoal-entry:(\d+)$/.exec(location?.file ?? '')?.[1]
  const at =
    entry !== undefined
      ? requests[Number(entry)]?.at
      : location && `${relativeToHere(path.resolve(location.file))}:${location.line}:${location.column + 1}`
  const fix = text.startsWith('Could not resolve')
    ? 'correct the import, or install the package next to the driver'
    : 'correct the file, so that Node can load it'
  return new Refusal(`it imports what cannot be bundled: ${text.replace(/^Could/, 'could')}`, fix, at ?? undefined)
}

function nativeRefusal(specifier: string, at: string): Refusal {
  return new Refusal(
    `it imports the native addon '${specifier}'`,
    'put the addon in a package and install that, or load it inside the function from a path that every machine has',
    at,
  )
}
