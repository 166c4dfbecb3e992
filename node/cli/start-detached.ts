import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { NodeUnavailableError } from '../../protocols/errors.ts'
import type { FailedLine, ReadyLine } from '../daemon-process.ts'
import { nodePlaces } from '../home/runtime-directory.ts'
import type { NodeOptions } from '../options.ts'

/** Starts the node as a process of its own and waits until it is ready. */
export async function startDetached({ join, ...options }: NodeOptions): Promise<ReadyLine> {
  const main = fileURLToPath(new URL(`../main${path.extname(import.meta.url)}`, import.meta.url))
  // Anybody on the machine can read a command line, so a token goes over standard input.
  const all: NodeOptions = join === undefined ? options : { ...options, join: '-' }
  const child = spawn(process.execPath, [main, JSON.stringify(all)], {
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  child.stdin.on('error', () => {})
  child.stdin.end(join === undefined ? '' : `${join}\n`)
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve)
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      const crashLog = path.join(nodePlaces().runtimeDirectory, 'crash.log')
      const how = signal ?? `exit code ${code}`
      // A line that it has printed comes before; the streams may lag behind the exit.
      setImmediate(() => reject(new NodeUnavailableError(`the node ended while it started (${how}); see ${crashLog}`)))
    })
  })
  child.unref()
  child.stdout.destroy()
  const said = JSON.parse(line) as ReadyLine | FailedLine
  if ('error' in said) throw new NodeUnavailableError(said.error.message)
  return said
}
