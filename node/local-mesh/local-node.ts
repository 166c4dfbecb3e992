import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { NodeUnavailableError } from '../../protocols/errors.ts'
import type { FailedLine, ReadyLine } from '../daemon-process.ts'
import type { NodeOptions } from '../options.ts'
import type { LocalNode } from './local-mesh.ts'

type LocalNodeOptions = NodeOptions & { name: string; runtimeDirectory: string; stateDirectory: string }

/** A node as a process of this one's own. */
export interface LocalNodeProcess {
  readonly node: LocalNode
  readonly ended: Promise<void>
  stop(): Promise<void>
}

const stopMs = 5_000
const main = fileURLToPath(new URL(`../main${path.extname(import.meta.url)}`, import.meta.url))

/** Starts a node that ends with this process, listens on 127.0.0.1 only, and waits until it is ready. */
export async function startLocalNode({ join, ...options }: LocalNodeOptions): Promise<LocalNodeProcess> {
  const { name, runtimeDirectory, stateDirectory } = options
  const all: NodeOptions = {
    ...options,
    embedded: true,
    mesh: true,
    mdns: false,
    listen: { host: '127.0.0.1', port: 0 },
    ...(join === undefined ? {} : { join: '-' }),
  }
  const child = spawn(process.execPath, [main, JSON.stringify(all)], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.on('error', () => {})
  // Standard input stays open: its end is the end of the node.
  if (join !== undefined) child.stdin.write(`${join}\n`)
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    // One that was stopped by a signal could not end.
    child.kill('SIGCONT')
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), stopMs)
    await ended
    clearTimeout(timer)
  }
  try {
    const lines = createInterface({ input: child.stdout })
    const said = once(lines, 'line') as Promise<[string]>
    const lost = ended.then(() => undefined)
    const line = (await Promise.race([said, lost]))?.[0]
    if (line === undefined) throw new NodeUnavailableError(`the node ${name} ended while it started`)
    const ready = JSON.parse(line) as ReadyLine | FailedLine
    if ('error' in ready)
      throw new NodeUnavailableError(`the node ${name} could not be started: ${ready.error.message}`)
    const { nodeId, pid, socketPath, addresses = [] } = ready
    return { node: { name, nodeId, pid, socketPath, runtimeDirectory, stateDirectory, addresses }, ended, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
