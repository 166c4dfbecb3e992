import { styleText } from 'node:util'
import { formatAmount, formatResources } from '../../protocols/resources.ts'
import type { ReadyLine, StoreLine } from '../daemon-process.ts'
import type { NodeOptions } from '../options.ts'
import { endProcess } from '../system/end-process.ts'
import { startDetached } from './start-detached.ts'

interface How {
  detach?: boolean
  json?: boolean
}

/** Starts the node of this machine, in the background or as this very process, and says what there is then. */
export async function startNode(options: NodeOptions, how: How): Promise<void> {
  if (how.detach === true) {
    announce(await startDetached(options), how, ['It runs in the background; `shoal down` stops it.'])
    return
  }
  // Only here: it is most of the program, and no other command needs it.
  const { readyLine, serveNode } = await import('../daemon-process.ts')
  await serveNode(options, async (daemon) => {
    announce(await readyLine(daemon), how, ['Programs that call init() attach to it. Ctrl-C stops it.'])
  })
  if (how.json !== true) process.stdout.write('The node has stopped.\n')
  endProcess()
}

function announce(line: ReadyLine, { json }: How, more: readonly string[]): void {
  const { ready: _, ...running } = line
  if (json === true) {
    process.stdout.write(`${JSON.stringify(running)}\n`)
    return
  }
  const lines = [
    `${styleText('green', 'A node is up')} (pid ${running.pid}).`,
    `  socket     ${running.socketPath}`,
    `  resources  ${formatResources(running.resources)}`,
    ...meshLines(running),
    storeLine(running.store),
    ...more,
    ...joinLines(running),
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

function meshLines({ meshName, nodeId, addresses = [] }: Omit<ReadyLine, 'ready'>): string[] {
  if (meshName === undefined) return []
  const where = addresses.length === 0 ? [] : [`  addresses  ${addresses.join(' ')}`]
  return [`  mesh       ${meshName}, as node ${nodeId}`, ...where]
}

function storeLine({ bytesMax, directory, spillDirectory }: StoreLine): string {
  const inMemory = directory === '' ? 'in shared memory' : `in ${directory}`
  const onDisk = spillDirectory === '' ? '' : `, then on the disk in ${spillDirectory}`
  return `  store      ${formatAmount('memory', bytesMax)} ${inMemory}${onDisk}`
}

function joinLines({ joinToken }: Omit<ReadyLine, 'ready'>): string[] {
  if (joinToken === undefined) return []
  return [
    'To add a machine, type there within the hour (who has this line can join; `shoal token` makes and revokes others):',
    `  shoal join ${joinToken}`,
  ]
}
