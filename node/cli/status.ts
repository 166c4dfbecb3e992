import { setTimeout as delay } from 'node:timers/promises'
import { Command } from 'commander'
import { nodePlaces } from '../home/runtime-directory.ts'
import { formatStatus } from './format-status.ts'
import { NodeClient } from './node-client.ts'

const watchMs = 1_000

export function statusCommand(): Command {
  return new Command('status')
    .summary('show resources, workers, and what runs and waits')
    .description('Shows the resources of the node of this machine, its workers, and the tasks that run and wait.')
    .option('--json', 'print JSON, one line')
    .option('-w, --watch', 'show it anew every second, until Ctrl-C')
    .addHelpText('after', '\nExamples:\n  shoal status\n  shoal status --watch\n  shoal status --json | jq .pending')
    .action(status)
}

async function status({ json, watch }: { json?: boolean; watch?: boolean }): Promise<void> {
  const client = await NodeClient.connect(nodePlaces().socketPath)
  // Ctrl-C is how watching ends, so it is no failure.
  if (watch === true) process.once('SIGINT', () => process.exit(0))
  const isScreen = watch === true && json !== true && process.stdout.isTTY
  try {
    for (;;) {
      const report = await client.status()
      const text = json === true ? JSON.stringify(report) : formatStatus(report)
      process.stdout.write(`${isScreen ? '\u001b[H\u001b[2J' : ''}${text}\n`)
      if (watch !== true) break
      await delay(watchMs)
    }
  } finally {
    client.close()
  }
}
