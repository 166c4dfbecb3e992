import { parse } from 'acorn'
import type { BuildResult, Metafile, OutputFile, Plugin } from 'esbuild'
import { createHash } from 'node:crypto'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { withSourceMap } from './code-writer.ts'
import { esbuildOptions, escapeForRegExp, type Esbuild } from './esbuild.ts'
import { externalPackage } from './external-packages.ts'
import type { GraphFile, ImportGraph } from './import-graph.ts'
import type { ExternalPackage, FileManifest } from './manifest.ts'
import { sdkName, sdkPathOf } from './sdk-files.ts'

/** A bundled file with its text. */
export interface BuiltFile extends FileManifest {
  text: string
  externals: ExternalPackage[]
}

/** What other files import a file by. */
export function keyOf(file: GraphFile | undefined): string {
  if (file === undefined) return ''
  if (file.package === undefined) return `shoal:${pathToFileURL(file.file).href}`
  const { name, version, directory } = file.package
  return `shoal:${name}@${version}/${path.relative(directory, file.file).replaceAll(path.sep, '/')}`
}

/**
 * Builds files that are imported from outside of their bundle. A user's file is a bundle of its own; the files of a
 * package are bundled together. Bundles import each other by key, so that the text of one does not depend on another's,
 * and each has one instance in a process, whatever it was shipped with.
 */
export async function buildFiles(esbuild: Esbuild, graph: ImportGraph, files: readonly string[]): Promise<BuiltFile[]> {
  const crossing = new Crossings(graph)
  const result = (await esbuild.build({
    ...esbuildOptions,
    splitting: true,
    entryPoints: files.map((file, i) => ({
      in: graph.file(file)?.isCommonJs ? `shoal-core:${file}` : file,
      out: `e${i}`,
    })),
    entryNames: '[name]-[hash]',
    chunkNames: 'c-[hash]',
    outdir: '/',
    outExtension: { '.js': '.mjs' },
    sourcemap: 'external',
    sourcesContent: false,
    keepNames: true,
    minifyWhitespace: true,
    legalComments: 'none',
    plugins: [bundlePlugin(crossing)],
  })) as BuildResult & { metafile: Metafile; outputFiles: OutputFile[] }
  return new OutputReader(graph, files, result).read()
}

/** Imports that go from one bundle to another. */
class Crossings {
  readonly #graph: ImportGraph

  constructor(graph: ImportGraph) {
    this.#graph = graph
  }

  /** Makes known what a user's CommonJS file exports. */
  exportsHookOf(file: string): string {
    if (this.#graph.file(file)?.package !== undefined) return ''
    return `globalThis[Symbol.for("shoal.exports")]?.(${JSON.stringify(pathToFileURL(file).href)}, core);`
  }

  /** What an import is replaced by, undefined when it stays inside the bundle. */
  resolve(
    importer: string,
    specifier: string,
    kind: string,
  ): { path: string; external: true } | { shim: string } | undefined {
    const from = this.#graph.file(importer)
    const found = from?.imports.find(
      (item) => item.specifier === specifier && item.isRequire === (kind === 'require-call'),
    )
    if (from === undefined || found === undefined) return undefined
    // Something optional that is not installed, or a built-in module.
    if (found.file === undefined) return { path: specifier, external: true }
    const sdkPath = sdkPathOf(found.file)
    if (sdkPath !== undefined) return { path: `shoal-sdk:${sdkPath}`, external: true }
    const to = this.#graph.file(found.file)
    if (to === undefined) return undefined
    // What has been built with other entries of its package is there already.
    if (this.#graph.isTogether(from, to) && !this.#graph.isBundled(to.file)) return undefined
    if (this.#graph.isExternal(found.file)) {
      return { path: found.isRequire ? found.file : pathToFileURL(found.file).href, external: true }
    }
    if (found.isRequire || !to.isCommonJs) return { path: keyOf(to), external: true }
    return { shim: keyOf(to) }
  }
}

function bundlePlugin(crossings: Crossings): Plugin {
  return {
    name: 'shoal-bundle',
    setup(build) {
      build.onResolve({ filter: /^shoal-core:/ }, ({ path: name }) => ({
        path: name.slice(11),
        namespace: 'shoal-core',
      }))
      build.onLoad({ filter: /.*/, namespace: 'shoal-core' }, ({ path: file }) => ({
        contents: `const core = require(${JSON.stringify(file)}); ${crossings.exportsHookOf(file)} export default core; export { core as "module.exports" }`,
        resolveDir: path.dirname(file),
        loader: 'js',
      }))
      // What ES modules import from a CommonJS file of another bundle is seen through a CommonJS file in this one, which
      // makes esbuild look up the names when they are used.
      build.onLoad({ filter: /.*/, namespace: 'shoal-shim' }, ({ path: key }) => ({
        contents: `module.exports = require(${JSON.stringify(key)})`,
        loader: 'js',
      }))
      build.onResolve({ filter: new RegExp(`^${escapeForRegExp(sdkName)}(/.*)?$`) }, ({ path: name }) => ({
        path: name === sdkName ? 'shoal-sdk:' : name,
        external: true,
      }))
      build.onResolve({ filter: /^shoal(-sdk)?:/ }, ({ path: name }) => ({ path: name, external: true }))
      build.onResolve({ filter: /.*/ }, ({ path: specifier, importer, kind, namespace }) => {
        if (namespace !== 'file' || kind === 'entry-point') return undefined
        const found = crossings.resolve(importer, specifier, kind)
        if (found === undefined) return undefined
        return 'shim' in found ? { path: found.shim, namespace: 'shoal-shim' } : found
      })
    },
  }
}

/** Turns esbuild's output into files that are named by key and hash. */
class OutputReader {
  readonly #graph: ImportGraph
  readonly #metafile: Metafile
  readonly #outputs: Map<string, OutputFile>
  readonly #keys = new Map<string, string>()
  readonly #sources = new Map<string, GraphFile>()

  constructor(
    graph: ImportGraph,
    files: readonly string[],
    result: BuildResult & { metafile: Metafile; outputFiles: OutputFile[] },
  ) {
    this.#graph = graph
    this.#metafile = result.metafile
    this.#outputs = new Map(result.outputFiles.map((output) => [path.basename(output.path), output]))
    for (const name of this.#outputs.keys()) {
      const entry = /^e(\d+)-/.exec(name)?.[1]
      const source = entry === undefined ? undefined : graph.file(files[Number(entry)] ?? '')
      if (source !== undefined) this.#sources.set(name, source)
      this.#keys.set(name, source === undefined ? `shoal:${name.replace('.mjs', '')}` : keyOf(source))
    }
  }

  read(): BuiltFile[] {
    return Object.entries(this.#metafile.outputs).flatMap(([name, output]) => {
      const base = path.basename(name)
      return base.endsWith('.mjs') ? [this.#readOutput(base, output)] : []
    })
  }

  #readOutput(name: string, { imports }: Metafile['outputs'][string]): BuiltFile {
    const source = this.#sources.get(name)
    const text = this.#finish(name, source)
    const dependencies = imports.map(({ path: to }) => this.#keys.get(path.basename(to)) ?? to)
    const externals = imports.flatMap(({ path: to }) => {
      const file = to.startsWith('file:') ? fileURLToPath(to) : to
      return path.isAbsolute(file) && this.#graph.isExternal(file) ? [externalPackage(file, file)] : []
    })
    return {
      key: this.#keys.get(name) ?? name,
      code: createHash('sha256').update(text).digest('hex'),
      text,
      dependencies: dependencies.filter((key) => key.startsWith('shoal:')),
      externals,
      ...(source?.package === undefined && source !== undefined ? { url: pathToFileURL(source.file).href } : {}),
    }
  }

  #finish(name: string, source: GraphFile | undefined): string {
    const code = (this.#outputs.get(name)?.text ?? '').replaceAll(
      /(["'])\.\/((?:e\d+|c)-[A-Z0-9]{8}\.mjs)\1/g,
      (whole, quote: string, target: string) => {
        const key = this.#keys.get(target)
        return key === undefined ? whole : quote + key + quote
      },
    )
    const isUser = source !== undefined && source.package === undefined
    const text = `${preludeOf(code, isUser ? source : undefined)}\n${code.trimEnd()}\n${isUser ? classListOf(code, source) : ''}`
    if (!isUser) return text
    // The prelude is one line of its own.
    const map = JSON.parse(this.#outputs.get(`${name}.map`)?.text ?? '{}') as { sources: string[]; mappings: string }
    map.sources = map.sources.map((file) => pathToFileURL(path.resolve('/', file)).href)
    map.mappings = `;${map.mappings}`
    return withSourceMap(text, JSON.stringify(map))
  }
}

/** What CommonJS code, or what is left of it in a bundle, expects to be there. */
function preludeOf(code: string, source: GraphFile | undefined): string {
  const names = source?.isCommonJs
    ? `const __filename=${JSON.stringify(source.file)},__dirname=${JSON.stringify(path.dirname(source.file))};`
    : ''
  if (!/\brequire\b/.test(code)) return names
  return `${names}import{createRequire as $createRequire}from"node:module";const require=$createRequire(import.meta.url);`
}

/** Makes the classes of a user's file known by name when the file has run. */
function classListOf(code: string, source: GraphFile): string {
  const names = classNamesIn(code)
  if (names.length === 0) return ''
  const url = JSON.stringify(pathToFileURL(source.file).href)
  const entries = names.map(([name, local]) => `${JSON.stringify(name)}:${local}`).join(',')
  return `globalThis[Symbol.for("shoal.classes")]?.(${url},{${entries}});\n`
}

/** Top-level classes: their names in the user's file, and in the bundle. */
function classNamesIn(code: string): [name: string, local: string][] {
  const names: [string, string][] = []
  for (const statement of parse(code, { ecmaVersion: 'latest', sourceType: 'module' }).body) {
    const declaration = statement.type === 'ExportNamedDeclaration' ? statement.declaration : statement
    if (declaration?.type === 'ClassDeclaration' && declaration.id)
      names.push([declaration.id.name, declaration.id.name])
    if (declaration?.type !== 'VariableDeclaration') continue
    for (const { id, init } of declaration.declarations) {
      if (id.type === 'Identifier' && init?.type === 'ClassExpression') names.push([id.name, id.name])
    }
  }
  const isDefault = /([\p{L}_$][\p{L}\d_$]*) as default\b/u.exec(code)?.[1]
  return names.map(([name, local]) => [name === isDefault && name.endsWith('_default') ? 'default' : name, local])
}
