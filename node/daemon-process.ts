import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'
import { InvalidArgumentError, ShoalError } from '../protocols/errors.ts'
import { startDaemon, type Daemon } from './daemon.ts'
import { nodePlaces } from './home/runtime-directory.ts'
import { checkNodeOptions, type NodeOptions } from './options.ts'
import { endProcess } from './system/end-process.ts'

/** An orderly stop that takes longer is cut short; the guardian does the rest. */
const stopMs = 1_800
const tokenCharsMax = 16 * 1024

/** What the process prints, on one line, when the node is up. */
export interface ReadyLine {
  ready: true
  socketPath: string
  pid: number
  resources: Readonly<Record<string, number>>
  nodeId: string
  store: StoreLine
  /** The mesh that it belongs to; not there for a node on its own. */
  meshName?: string
  /** Where others reach it. */
  addresses?: readonly string[]
  /** What to join with from another machine, when this node may let others in. Shown this once. */
  joinToken?: string
}

/** Where the values of its object store lie. */
export interface StoreLine {
  bytesMax: number
  /** The folder of its files; '' when they are in shared memory. */
  directory: string
  /** The folder for those that there is no room for; '' when they are refused. */
  spillDirectory: string
}

type DaemonFacts = Pick<Daemon, 'socketPath' | 'machine' | 'nodeId' | 'store' | 'place' | 'log'>

/** What it prints when the node could not be started; it exits with 1 then. */
export interface FailedLine {
  error: { code: string; message: string }
}

/** The life of a process that is a node: its options are one JSON argument, its readiness one line on standard output. */
export async function runDaemonProcess(args: readonly string[]): Promise<void> {
  // Who started us may be gone before we have told him anything.
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})
  try {
    await serveNode(parseOptions(args), async (daemon) => say(await readyLine(daemon)))
  } catch (error) {
    const code = error instanceof ShoalError ? error.code : 'INTERNAL'
    const message = error instanceof Error ? error.message : String(error)
    say({ error: { code, message } })
    process.exitCode = 1
  }
  endProcess()
}

/** What a node that is up says of itself. A token that cannot be made is not told; the log says why. */
export async function readyLine(daemon: DaemonFacts): Promise<ReadyLine> {
  const { socketPath, machine, nodeId, place, log } = daemon
  const { bytesMax, directory, spillDirectory } = daemon.store
  const store = { bytesMax, directory, spillDirectory: spillDirectory === '' ? '' : path.dirname(spillDirectory) }
  const line: ReadyLine = { ready: true, socketPath, pid: process.pid, resources: machine.total, nodeId, store }
  if (place === undefined) return line
  const joinToken = await place.makeToken().catch((error: Error) => {
    log(`no token to join with could be made: ${error.message}`)
    return undefined
  })
  const { meshName, addresses } = place
  return { ...line, meshName, addresses, ...(joinToken === undefined ? {} : { joinToken }) }
}

/** The token of `join: '-'`: the first line of standard input. */
async function tokenOf({ join }: NodeOptions): Promise<string | undefined> {
  if (join !== '-') return join
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let text = ''
  const onData = (chunk: Buffer): void => {
    text += chunk.toString('utf8')
    if (text.includes('\n') || text.length > tokenCharsMax) resolve(text.split('\n')[0] ?? '')
  }
  process.stdin.on('data', onData)
  process.stdin.once('end', () => resolve(text))
  process.stdin.once('error', reject)
  try {
    return await promise
  } finally {
    process.stdin.off('data', onData)
    process.stdin.pause()
  }
}

/**
 * Is a node until a client, a signal or the end of its program stops it. Rejects when the node cannot be started or
 * `onReady` fails; nothing runs any more then, and the process ends soon, whatever else holds it.
 */
export async function serveNode(
  options: NodeOptions,
  onReady: (daemon: Daemon) => void | Promise<void>,
): Promise<void> {
  exitOnUnexpectedErrors(options)
  const daemon = await startDaemon(options, await tokenOf(options))
  const stopped = stopReason(options, daemon)
  try {
    await onReady(daemon)
  } catch (error) {
    daemon.log(`stopping: ${(error as Error).message}`)
    await Promise.race([daemon.close(), delay(stopMs, undefined, { ref: false })])
    // After the error has been told.
    process.exitCode = 1
    setTimeout(endProcess, stopMs).unref()
    throw error
  }
  daemon.log(`stopping: ${await stopped}`)
  setTimeout(endProcess, stopMs).unref()
  await daemon.close()
}

function parseOptions(args: readonly string[]): NodeOptions {
  let options: unknown = {}
  try {
    if (args.length > 1) throw new SyntaxError('more than one argument')
    if (args[0] !== undefined) options = JSON.parse(args[0])
  } catch (error) {
    const problem = (error as Error).message
    throw new InvalidArgumentError(`the options of a node are one JSON object, such as '{"cpus":4}': ${problem}`)
  }
  return checkNodeOptions(options)
}

function say(line: ReadyLine | FailedLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

/** Waits until there is a reason to stop. */
function stopReason(options: NodeOptions, daemon: Daemon): Promise<string> {
  const signalled = new Promise<string>((resolve) => {
    // A Ctrl-C is for the program that an embedded node belongs to. It says itself when it is done.
    const forProgram = ['SIGINT', 'SIGHUP'] as const
    for (const signal of forProgram) process.on(signal, () => options.embedded === true || resolve(signal))
    process.on('SIGTERM', () => resolve('SIGTERM'))
  })
  const asked = daemon.stopAsked.then(() => 'a client asked for it')
  const reasons = [signalled, asked]
  if (options.embedded === true) {
    const left = new Promise<string>((resolve) => {
      process.stdin.on('error', () => {})
      for (const end of ['end', 'close']) {
        process.stdin.once(end, () => resolve('the program that it belongs to has ended'))
      }
      process.stdin.resume()
    })
    reasons.push(left)
  }
  return Promise.race(reasons)
}

/** A node in an unknown state must not limp on. What happened stays in the runtime folder. */
function exitOnUnexpectedErrors(options: NodeOptions): void {
  process.on('uncaughtException', (error) => {
    const report = `${new Date().toISOString()} the node (pid ${process.pid}) ended because of an unexpected error\n${inspect(error)}\n`
    process.stderr.write(report)
    try {
      const { runtimeDirectory } = nodePlaces(options.runtimeDirectory)
      writeFileSync(path.join(runtimeDirectory, 'crash.log'), report, { mode: 0o600 })
    } catch {
      // The report is on standard error.
    }
    process.exit(70)
  })
}
