import './loopback.ts'
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../../node/cli/main.ts', import.meta.url))

export interface CommandResult {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface RunningCommand {
  child: ChildProcessWithoutNullStreams
  result: Promise<CommandResult>
  /** Resolves when standard output has the text; rejects when the command ends before. */
  printed(text: string): Promise<void>
}

/** Starts `shoal ...args` with the node of `runtimeDirectory`. */
export function startCommand(runtimeDirectory: string, ...args: string[]): RunningCommand {
  const env: NodeJS.ProcessEnv = { ...process.env, SHOAL_RUNTIME_DIR: runtimeDirectory }
  delete env['NODE_TEST_CONTEXT']
  delete env['FORCE_COLOR']
  const child = spawn(process.execPath, [main, ...args], { env })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const result = (async () => {
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
    return { code, signal, stdout, stderr }
  })()
  const printed = async (text: string): Promise<void> => {
    while (!stdout.includes(text)) {
      const more = once(child.stdout, 'data').then(() => true)
      if (!(await Promise.race([more, result.then(() => false)])) && !stdout.includes(text)) {
        throw new Error(`ended without printing ${JSON.stringify(text)}: ${stdout}${stderr}`)
      }
    }
  }
  return { child, result, printed }
}

export function shoal(runtimeDirectory: string, ...args: string[]): Promise<CommandResult> {
  return startCommand(runtimeDirectory, ...args).result
}
