import { spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import path from 'node:path'
import { Command } from 'commander'
import { NodeUnavailableError } from '../../protocols/errors.ts'
import { heapLimit } from '../system/heap-limit.ts'
import { checkSyntax } from './check-syntax.ts'

const forwardedSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

const examples = `
The program runs with this Node.js (${process.version}), TypeScript included. Its init() attaches to the node of this machine, or
starts one for the program when none runs. \`import 'shoal'\` works even where shoal is not installed. Its heap may grow to three
quarters of the machine's memory, unless NODE_OPTIONS has --max-old-space-size.

Examples:
  shoal run search.ts
  shoal run search.ts --candidates 300`

export function runCommand(): Command {
  return new Command('run')
    .summary('run a program')
    .description('Runs a program with the arguments after it, and exits as it does. Ctrl-C stops it and all its tasks.')
    .argument('<file>', 'the program: .ts, .mts, .js, .mjs or .cjs')
    .argument('[args...]', 'its arguments')
    .passThroughOptions()
    .addHelpText('after', examples)
    .action(run)
}

async function run(file: string, args: string[]): Promise<void> {
  const full = path.resolve(file)
  requireFile(file, full)
  await checkSyntax(full)
  const hook = new URL(`./resolve-shoal${path.extname(import.meta.url)}`, import.meta.url).href
  const nodeArgs = [...heapLimit(process.env), '--import', hook]
  const child = spawn(process.execPath, [...nodeArgs, full, ...args], { stdio: 'inherit' })
  let interrupts = 0
  for (const signal of forwardedSignals) {
    process.on(signal, () => {
      // On a terminal, Ctrl-C reaches the program by itself.
      const hasIt = signal === 'SIGINT' && process.stdin.isTTY
      if (signal === 'SIGINT' && ++interrupts > 2) child.kill('SIGKILL')
      else if (!hasIt) child.kill(signal)
    })
  }
  const { code, signal } = await new Promise<{ code: number | null; signal: NodeJS.Signals | null }>(
    (resolve, reject) => {
      child.once('error', (error) => reject(new NodeUnavailableError(`${file} could not be run: ${error.message}`)))
      child.once('exit', (exitCode, exitSignal) => resolve({ code: exitCode, signal: exitSignal }))
    },
  )
  if (signal !== null) {
    // To whoever started this, it ended as the program did.
    for (const each of forwardedSignals) process.removeAllListeners(each)
    process.kill(process.pid, signal)
  }
  process.exitCode = code ?? 1
}

function requireFile(file: string, full: string): void {
  const stats = statSync(full, { throwIfNoEntry: false })
  if (stats?.isFile() === true) return
  const problem = stats === undefined ? 'there is no such file' : 'that is not a file'
  throw new NodeUnavailableError(`cannot run ${file}: ${problem} (${full})`)
}
