import { chmod, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runProgram } from './run-program.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const cliFile = join(dist, 'node', 'cli', 'main.js')

/** Writes dist/ anew: JavaScript, declarations and source maps. Rejects when the compiler finds an error. */
export async function build(): Promise<void> {
  await rm(dist, { recursive: true, force: true })
  // In files that Node runs itself, standard output belongs to `npm pack --json`: the compiler only speaks when it fails.
  const code = await runProgram(['tsc', '--project', 'tsconfig.build.json'], { cwd: root })
  if (code !== 0) throw new Error('the build has failed: the errors of the compiler are above')
  await checkDeclarations()
  await chmod(cliFile, 0o755)
}

/** A `.ts` import in a declaration would make users' compilers look for sources that are not shipped. */
async function checkDeclarations(): Promise<void> {
  const names = (await readdir(dist, { recursive: true })).filter((name) => name.endsWith('.d.ts'))
  for (const name of names) {
    const text = await readFile(join(dist, name), 'utf8')
    const found = /(?:from|import)\s*\(?\s*['"](\.[^'"]*(?<!\.d)\.ts)['"]/.exec(text)
    if (found !== null) throw new Error(`dist/${name} imports ${found[1]}, which is not in the package`)
  }
}
