import type { Metafile } from 'esbuild'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { packageOf, type InstalledPackage } from './external-packages.ts'
import { sdkPathOf } from './sdk-files.ts'

/** One file that imports reach. */
export interface GraphFile {
  file: string
  /** Undefined for the user's own. */
  package: InstalledPackage | undefined
  isCommonJs: boolean
  /** JSON and the like, which becomes part of whatever imports it. */
  isData: boolean
  imports: GraphImport[]
}

export interface GraphImport {
  specifier: string
  /** The file that it means; undefined for built-in modules and what could not be found. */
  file: string | undefined
  isRequire: boolean
}

/** What goes wrong when a package is made one file: it looks for something beside itself. */
const breaksInBundle =
  /\b__dirname\b|\b__filename\b|\bimport\.meta\.(?:url|dirname|filename|resolve)\b|\bnew Worker\(|\brequire\.resolve\b|\.node['"`]|\brequire\(\s*[^'"`\s)]/

/** The files that have been found so far, with what they import. Grows with what a program ships. */
export class ImportGraph {
  readonly #files = new Map<string, GraphFile>()
  /** Files that cannot be bundled; they are imported from where they are. */
  readonly #external = new Set<string>()
  readonly #looked = new Set<string>()
  /** Entries of bundles that have been made. */
  readonly #bundled = new Set<string>()

  add(metafile: Metafile, workingDirectory: string): void {
    const absolute = (file: string): string => path.resolve(workingDirectory, file)
    for (const [name, input] of Object.entries(metafile.inputs)) {
      const file = absolute(name)
      if (name.includes('shoal-entry:') || this.#files.has(file) || sdkPathOf(file) !== undefined) continue
      this.#files.set(file, {
        file,
        package: packageOf(file),
        isCommonJs: input.format === 'cjs',
        isData: !/\.[cm]?[jt]sx?$/.test(file),
        imports: input.imports.map(({ original, path: to, external, kind }) => ({
          specifier: original ?? to,
          file: external === true ? undefined : absolute(to),
          isRequire: kind === 'require-call',
        })),
      })
    }
    this.#findExternal()
  }

  file(file: string): GraphFile | undefined {
    return this.#files.get(file)
  }

  isExternal(file: string): boolean {
    return this.#external.has(file)
  }

  /** Every file that some reach, themselves included. */
  reach(files: Iterable<string>): Set<string> {
    const found = new Set<string>()
    const todo = [...files]
    for (let file = todo.pop(); file !== undefined; file = todo.pop()) {
      if (found.has(file)) continue
      found.add(file)
      for (const { file: to } of this.#files.get(file)?.imports ?? []) if (to !== undefined) todo.push(to)
    }
    return found
  }

  /** A file that has been built stays what it is: another instance of it must not come to be. */
  addBundled(file: string): void {
    this.#bundled.add(file)
  }

  isBundled(file: string): boolean {
    return this.#bundled.has(file)
  }

  /** True when the second file is bundled with the first that imports it: those of one package are. */
  isTogether(a: GraphFile, b: GraphFile): boolean {
    return b.isData || (a.package !== undefined && a.package === b.package)
  }

  #findExternal(): void {
    const packages = new Set<InstalledPackage>()
    const fresh = [...this.#files.values()].filter((file) => !this.#looked.has(file.file))
    for (const file of fresh) {
      this.#looked.add(file.file)
      const isBroken = file.package !== undefined && (this.#isNative(file) || breaksInBundle.test(readText(file.file)))
      if (isBroken && file.package !== undefined) packages.add(file.package)
    }
    const isIn = (file: GraphFile): boolean => file.package !== undefined && packages.has(file.package)
    const broken = fresh.filter((file) => isIn(file) || this.#isInRequireCycle(file))
    // What an external file imports it finds by itself: nobody else may have another instance of that.
    for (const file of this.reach(broken.map(({ file: name }) => name))) {
      if (!this.#bundled.has(file)) this.#external.add(file)
    }
  }

  #isNative(file: GraphFile): boolean {
    return file.imports.some(({ file: to }) => to?.endsWith('.node'))
  }

  /** CommonJS files that require each other across bundles would not find each other halfway, as they do in Node. */
  #isInRequireCycle(file: GraphFile): boolean {
    return file.imports.some(({ file: to, isRequire }) => {
      const other = to === undefined ? undefined : this.#files.get(to)
      return (
        isRequire && other !== undefined && !this.isTogether(file, other) && this.reach([other.file]).has(file.file)
      )
    })
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
