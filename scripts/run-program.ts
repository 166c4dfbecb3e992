import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { delimiter } from 'node:path'
import { fileURLToPath } from 'node:url'

const binaries = fileURLToPath(new URL('../node_modules/.bin', import.meta.url))

interface RunOptions {
  cwd: string
}

/**
 * Runs a program of node_modules/.bin with this process's own output and returns its exit code; 1 when a signal ended it.
 * `node` is the Node that runs this.
 */
export async function runProgram([name = '', ...args]: readonly string[], { cwd }: RunOptions): Promise<number> {
  const program = name === 'node' ? process.execPath : name
  const path = `${binaries}${delimiter}${process.env['PATH'] ?? ''}`
  const child = spawn(program, args, { cwd, env: { ...process.env, PATH: path }, stdio: 'inherit' })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}
