import { realpathSync } from 'node:fs'
import type { AnyClass, AnyFunction } from './any-function.ts'
import { commonJsPathOf, isSelfContained } from './common-js.ts'
import type { Script } from './script.ts'
import type { Site } from './script-syntax.ts'
import { sdkPathOfImport } from './sdk-files.ts'

let entryFile: string | undefined | null = null

/** The program's main file. */
function mainFile(): string | undefined {
  if (entryFile === null) {
    try {
      entryFile = process.argv[1] === undefined ? undefined : realpathSync(process.argv[1])
    } catch {
      entryFile = undefined
    }
  }
  return entryFile
}

/**
 * True for a module that a worker can import as a whole: an ordinary module of the user. Not the program's main file
 * or a test, which would run the program again, and not a module that calls the SDK when it is loaded.
 */
function canBeImported(script: Script): boolean {
  const { file } = script
  if (file === undefined || script.isUnit || file === mainFile()) return false
  if (/\.(test|spec)\.[cm]?[jt]sx?$/.test(file)) return false
  return script.isModule ? !importsSdk(script) : isSelfContained(file, mainFile())
}

/**
 * How a function or class is had from its module, when workers can import that: the name that an ES module exports it by,
 * or the path to it in what a CommonJS module exports. What a CommonJS module makes again and again is not the one there.
 */
export function moduleExportOf(
  fn: AnyFunction | AnyClass,
  script: Script,
  { node }: Pick<Site, 'node'>,
): { name: string | undefined; path: string[] } | undefined {
  if (!canBeImported(script)) return undefined
  const name = script.syntax.exportNameOf(node)
  if (name !== undefined) return { name, path: [name] }
  const path = script.syntax.isMadeOnce(node) ? commonJsPathOf(fn, script) : undefined
  return path && { name, path }
}

function importsSdk(script: Script): boolean {
  for (const { imported } of script.syntax.roots.values()) {
    if (imported !== undefined && sdkPathOfImport(imported.specifier, script.directory) !== undefined) return true
  }
  return false
}
