import { setTimeout as delay } from 'node:timers/promises'
import { Command } from 'commander'
import type { ExplainedRequest, MeshInfo } from '../../protocols/admin.ts'
import { NotSupportedError } from '../../protocols/errors.ts'
import { formatMesh } from './format-mesh.ts'
import { formatStatus } from './format-status.ts'
import type { NodeClient } from './node-client.ts'
import { withNode } from './with-node.ts'

const watchMs = 1_000

interface MeshStatus extends MeshInfo {
  waiting: ExplainedRequest[]
}

export function statusCommand(): Command {
  return new Command('status')
    .summary('show resources, workers, and what runs and waits')
    .description(
      'Shows the resources of the node of this machine, its workers, the tasks that run and wait, and its mesh.',
    )
    .option('--json', 'print JSON, one line')
    .option('-w, --watch', 'show it anew every second, until Ctrl-C')
    .addHelpText('after', '\nExamples:\n  shoal status\n  shoal status --watch\n  shoal status --json | jq .pending')
    .action(status)
}

async function status({ json, watch }: { json?: boolean; watch?: boolean }): Promise<void> {
  // Ctrl-C is how watching ends, so it is no failure.
  if (watch === true) process.once('SIGINT', () => process.exit(0))
  const isScreen = watch === true && json !== true && process.stdout.isTTY
  await withNode(async (client) => {
    for (;;) {
      const report = await client.status()
      const mesh = await meshStatus(client)
      const meshText = mesh === undefined ? [] : [formatMesh(mesh, mesh.waiting)]
      const text =
        json === true ? JSON.stringify({ ...report, mesh }) : [formatStatus(report), ...meshText].join('\n\n')
      process.stdout.write(`${isScreen ? '\u001b[H\u001b[2J' : ''}${text}\n`)
      if (watch !== true) break
      await delay(watchMs)
    }
  })
}

/** Undefined for a node that is on its own. */
async function meshStatus(client: NodeClient): Promise<MeshStatus | undefined> {
  try {
    const info = await client.call('meshInfo', {})
    return { ...info, waiting: await client.call('explain', { task: '' }) }
  } catch (error) {
    if (error instanceof NotSupportedError) return undefined
    throw error
  }
}
