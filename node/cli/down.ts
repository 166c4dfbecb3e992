import { existsSync, readdirSync, readlinkSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Command } from 'commander'
import { NodeUnavailableError } from '../../protocols/errors.ts'
import { daemonLogName } from '../home/daemon-log.ts'
import { readNodeFile } from '../home/node-file.ts'
import { nodePlaces } from '../home/runtime-directory.ts'
import { isAlive } from '../home/start-lock.ts'
import { NodeClient } from './node-client.ts'

const patienceMs = 5_000
const pollMs = 20

export function downCommand(): Command {
  return new Command('down')
    .summary('stop the node of this machine')
    .description('Stops the node of this machine and all that runs on it, and waits until it is gone.')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExamples:\n  shoal down\n  SHOAL_RUNTIME_DIR=/tmp/other shoal down')
    .action(down)
}

async function down({ json }: { json?: boolean }): Promise<void> {
  const { runtimeDirectory, socketPath } = nodePlaces()
  const { pid, isOrderly } = await stop(runtimeDirectory, socketPath)
  // A node that hangs is killed; its guardian cleans up after it.
  if (!isOrderly && isAlive(pid)) process.kill(pid, 'SIGKILL')
  for (let waited = 0; waited < patienceMs && isAlive(pid); waited += pollMs) await delay(pollMs)
  // The guardian deletes the note about the node at the very end. Another node may have started by then.
  for (let waited = 0; waited < patienceMs && readNodeFile(runtimeDirectory)?.pid === pid; waited += pollMs) {
    await delay(pollMs)
  }
  const how = isOrderly ? 'stopped' : 'killed, since it did not answer'
  process.stdout.write(
    json === true ? `${JSON.stringify({ pid, stopped: true })}\n` : `The node (pid ${pid}) is ${how}.\n`,
  )
}

/** Asks the node to stop, and waits until it does. Rejects when there is no node. */
async function stop(runtimeDirectory: string, socketPath: string): Promise<{ pid: number; isOrderly: boolean }> {
  let client: NodeClient
  try {
    client = await NodeClient.connect(socketPath)
  } catch (error) {
    const isSilent = error instanceof NodeUnavailableError && error.details['isSilent'] === true
    const pid = readNodeFile(runtimeDirectory)?.pid
    if (!isSilent || pid === undefined || !isNodeOf(runtimeDirectory, pid)) throw error
    return { pid, isOrderly: false }
  }
  client.stop()
  return { pid: client.nodePid, isOrderly: await within(client.closed) }
}

/** True when the process is the node of this folder, and not one that has got the pid of a dead node. */
export function isNodeOf(runtimeDirectory: string, pid: number): boolean {
  if (!isAlive(pid)) return false
  // A node has its log open for as long as it lives. Where there is no such folder, somebody listens at its socket.
  if (!existsSync('/proc/self/fd')) return true
  try {
    const log = path.join(realpathSync(runtimeDirectory), daemonLogName)
    return readdirSync(`/proc/${pid}/fd`).some((descriptor) => targetOf(`/proc/${pid}/fd/${descriptor}`) === log)
  } catch {
    // It is somebody else's, or has just ended.
    return false
  }
}

function targetOf(link: string): string {
  try {
    return readlinkSync(link).replace(/ \(deleted\)$/, '')
  } catch {
    return ''
  }
}

async function within(promise: Promise<void>): Promise<boolean> {
  const patience = new AbortController()
  const expired = delay(patienceMs, false, { signal: patience.signal }).catch(() => false)
  try {
    return await Promise.race([promise.then(() => true), expired])
  } finally {
    patience.abort()
  }
}
