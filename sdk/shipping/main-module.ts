import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { packageOf } from './external-packages.ts'

interface Manifest {
  exports?: unknown
  main?: unknown
}

/** The main module of the package that a loaded file belongs to, as its users import or require it. */
export function mainModuleOf(file: string, form: 'import' | 'require'): { name: string; exports: unknown } | undefined {
  const found = packageOf(file)
  if (found === undefined) return undefined
  try {
    const manifest = JSON.parse(readFileSync(path.join(found.directory, 'package.json'), 'utf8')) as Manifest
    const target = targetOf(manifest.exports, new Set(['node', form, 'module-sync', 'default'])) ?? manifest.main
    if (typeof target !== 'string') return undefined
    const main = path.join(found.directory, target)
    // Modules without a top-level await can be required; one that is loaded is not run again.
    return { name: found.name, exports: createRequire(file)(main) }
  } catch {
    return undefined
  }
}

/** The file that a package's `exports` name for the package itself. */
function targetOf(exports: unknown, conditions: ReadonlySet<string>): string | undefined {
  if (typeof exports === 'string') return exports
  if (typeof exports !== 'object' || exports === null) return undefined
  if ('.' in exports) return targetOf(exports['.'], conditions)
  for (const [condition, target] of Object.entries(exports)) {
    const found = conditions.has(condition) ? targetOf(target, conditions) : undefined
    if (found !== undefined) return found
  }
  return undefined
}
