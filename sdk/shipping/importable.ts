import { realpathSync } from 'node:fs'
import type { Script } from './script.ts'
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
export function canBeImported(script: Script): boolean {
  const { file } = script
  if (file === undefined || script.isUnit || !script.isModule || file === mainFile()) return false
  return !/\.(test|spec)\.[cm]?[jt]sx?$/.test(file) && !importsSdk(script)
}

function importsSdk(script: Script): boolean {
  for (const { imported } of script.syntax.roots.values()) {
    if (imported !== undefined && sdkPathOfImport(imported.specifier, script.directory) !== undefined) return true
  }
  return false
}
