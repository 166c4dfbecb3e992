import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { BuildOptions, Plugin, StdinOptions } from 'esbuild'

export interface ProgramSources {
  /** The module that the program begins with. */
  entry: string
  /** The module that others import from it. */
  main: string
  /** The texts of the files that it may be made of, by their paths. */
  files: ReadonlyMap<string, Buffer>
}

export interface Bundle {
  code: string
  /**
   * Where its code comes from, for `sdk/bundle.ts`, which is to find one place without reading all: a line with the URLs of
   * the modules, then one for each line of the code. It has four numbers for each part of that, as JSON: where the part
   * begins, the number of the module, and the line and column there. Lines are from 1, columns from 0.
   */
  places: string
}

const modulesName = 'shoal:modules'
const urlName = 'moduleUrl$'
const directoryName = 'moduleDirectory$'

/** Those of Node that are seldom needed and slow to load. Only functions are imported from them. */
const lateModules = new Set(['child_process', 'crypto', 'fs/promises', 'readline', 'v8', 'vm', 'zlib'])

const options = {
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'node',
  target: 'esnext',
  define: { 'import.meta.url': urlName, 'import.meta.dirname': directoryName },
  logLevel: 'silent',
  tsconfigRaw: { compilerOptions: { target: 'esnext', verbatimModuleSyntax: true } },
} as const satisfies BuildOptions

let building = 0

/**
 * Makes one file of a program's modules, all of each. It is for `sdk/bundle.ts` to see to it that who imports one of them
 * by its own file gets what is in here. What is imported by `import()` stays where it is. Rejects when esbuild cannot be
 * loaded, or a module imports something that is neither among the files nor built into Node.
 *
 * @param file where the code will be
 */
export async function bundleProgram({ entry, main, files }: ProgramSources, file: string): Promise<Bundle> {
  const { build, stop } = await import('esbuild')
  building++
  try {
    const absWorkingDir = path.dirname(entry)
    const plain = { ...options, absWorkingDir, outfile: file, plugins: [filesPlugin(files, '')] }
    const found = await build({ ...plain, stdin: importing([main, entry], absWorkingDir), metafile: true })
    const names = Object.keys(found.metafile.inputs).map((name) => path.resolve(absWorkingDir, name))
    const modules = names.filter((name) => name !== entry && files.has(name))
    const { outputFiles } = await build({
      ...plain,
      stdin: importing([modulesName, entry], absWorkingDir),
      sourcemap: 'external',
      sourcesContent: false,
      plugins: [filesPlugin(files, moduleTable(modules))],
    })
    const textOf = (extension: string): string =>
      outputFiles.find((output) => output.path.endsWith(extension))?.text ?? ''
    return { code: textOf('.mjs'), places: await placesOf(textOf('.map'), file) }
  } finally {
    // Its process is one for all.
    if (--building === 0) await stop()
  }
}

async function placesOf(map: string, file: string): Promise<string> {
  const { TraceMap, decodedMappings } = await import('@jridgewell/trace-mapping')
  const traced = new TraceMap(map, pathToFileURL(file).href)
  const lines = decodedMappings(traced).map((segments) =>
    segments.flatMap((segment) => (segment.length === 1 ? [] : [segment[0], segment[1], segment[2] + 1, segment[3]])),
  )
  return [traced.resolvedSources, ...lines].map((line) => JSON.stringify(line)).join('\n')
}

function importing(names: readonly string[], resolveDir: string): StdinOptions {
  return { contents: names.map((name) => `import ${JSON.stringify(name)}`).join('\n'), resolveDir, loader: 'js' }
}

/** The module that tells `sdk/bundle.ts` what is in the file. */
function moduleTable(modules: readonly string[]): string {
  const imports = modules.map((name, i) => `import * as m${i} from ${JSON.stringify(name)}`)
  const entries = modules.map((name, i) => `${JSON.stringify(pathToFileURL(name).href)}: m${i}`)
  // `import.meta.url` is each module's own here.
  return `${imports.join('\n')}
const { url } = import.meta
const modules = { ${entries.join(',\n')} }
globalThis[Symbol.for('shoal.bundle')] = { url, modules }
// esbuild has other names for classes that mention themselves.
for (const module of Object.values(modules)) {
  for (const [name, value] of Object.entries(module)) {
    if (typeof value === 'function' && value.name === '_' + name) Object.defineProperty(value, 'name', { value: name })
  }
}`
}

/** Takes the contents of modules from what was read, and nothing that was not. */
function filesPlugin(files: ReadonlyMap<string, Buffer>, table: string): Plugin {
  return {
    name: 'shoal-program',
    setup(build) {
      build.onResolve({ filter: /.*/ }, ({ path: name, resolveDir, kind }) => {
        if (name === modulesName) return { path: name, namespace: 'shoal' }
        const isPath = /^\.{0,2}\//.test(name)
        const file = path.resolve(resolveDir, name)
        if (kind === 'dynamic-import') return { path: isPath ? pathToFileURL(file).href : name, external: true }
        if (name.startsWith('node:')) return { path: name, external: true }
        if (isPath && files.has(file)) return { path: file }
        return { errors: [{ text: `${name} is not part of the program` }] }
      })
      build.onLoad({ filter: /.*/, namespace: 'shoal' }, () => ({ contents: table, resolveDir: '/', loader: 'js' }))
      build.onLoad({ filter: /.*/ }, ({ path: file }) => ({
        contents: withPlace(files.get(file)?.toString() ?? '', file),
        loader: file.endsWith('.ts') ? 'ts' : 'js',
      }))
    },
  }
}

/**
 * What is imported of Node's own modules without loading more of them than that: an `import` reads all that they export,
 * and so loads whatever is behind it. Functions of those that most workers do without load them when they are called.
 */
function withFewBuiltins(text: string): string {
  return text.replaceAll(/^import \{([^}]*)\} from 'node:([\w/]+)';?$/gm, (statement, list: string, name: string) => {
    const names = list.split(',').map((each) => each.trim())
    const values = names.filter((each) => each !== '' && !/^type\s/.test(each))
    const module = `process.getBuiltinModule('node:${name}')`
    const declarations = values.map((each) => {
      const [its = '', own = its] = each.split(/\s+as\s+/)
      return lateModules.has(name)
        ? `const ${own} = (...args) => ${module}.${its}(...args);`
        : `const { ${its}: ${own} } = ${module};`
    })
    // On as many lines, so that those of the rest stay what they are.
    return declarations.join(' ') + '\n'.repeat(statement.split('\n').length - 1)
  })
}

/** A module's text with what it needs to know of its own file. Frames of stacks name files as they were executed. */
function withPlace(text: string, file: string): string {
  const code = withFewBuiltins(text.replace(/^\/\/# sourceMappingURL=.*$/m, ''))
  if (!code.includes('import.meta.')) return code
  const url = JSON.stringify(pathToFileURL(file).href)
  return `const ${urlName} = ${url}, ${directoryName} = ${JSON.stringify(path.dirname(file))};${code}`
}
