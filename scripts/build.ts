import { chmod, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runProgram } from './run-program.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const cliFile = join(dist, 'node', 'cli', 'main.js')

/** Writes dist/ anew: JavaScript, declarations and source maps. Rejects when the compiler finds an error. */
export async function build(): Promise<void> {
  await rm(dist, { recursive: true, force: true })
  const code = await runProgram(['tsc', '--project', 'scripts/tsconfig.build.json'], { cwd: root })
  if (code !== 0) throw new Error('the build has failed: the errors of the compiler are above')
  const names = await readdir(dist, { recursive: true })
  for (const name of names.filter((each) => each.endsWith('.d.ts'))) {
    const file = join(dist, name)
    await writeFile(file, withJsImports(await readFile(file, 'utf8')))
  }
  await chmod(cliFile, 0o755)
}

/**
 * The declaration with `./name.ts` replaced by `./name.js` where it imports. The compiler does that in JavaScript only, and
 * users' compilers would look for sources that are not in the package.
 */
export function withJsImports(declaration: string): string {
  return declaration.replaceAll(
    /(\bfrom\s*|\bimport\s*\(?\s*)(['"])(\.{1,2}\/[^'"]*?)(?<!\.d)\.ts\2/g,
    (_, before: string, quote: string, path: string) => `${before}${quote}${path}.js${quote}`,
  )
}
