import { setTimeout as delay } from 'node:timers/promises'
import { Command } from 'commander'
import { readNodeFile } from '../home/node-file.ts'
import { nodePlaces } from '../home/runtime-directory.ts'
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
  const client = await NodeClient.connect(socketPath)
  const pid = client.nodePid
  client.stop()
  const isOrderly = await within(client.closed)
  if (!isOrderly) {
    // It hangs. Its guardian cleans up after it.
    process.kill(pid, 'SIGKILL')
    await within(client.closed)
  }
  // The guardian deletes the note about the node at the very end. Another node may have started by then.
  for (let waited = 0; waited < patienceMs && readNodeFile(runtimeDirectory)?.pid === pid; waited += pollMs) {
    await delay(pollMs)
  }
  const how = isOrderly ? 'stopped' : 'killed, since it did not answer'
  process.stdout.write(
    json === true ? `${JSON.stringify({ pid, stopped: true })}\n` : `The node (pid ${pid}) is ${how}.\n`,
  )
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
