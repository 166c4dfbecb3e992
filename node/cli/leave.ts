import { Command } from 'commander'
import { NodeUnavailableError } from '../../protocols/errors.ts'
import { nodePlaces } from '../home/runtime-directory.ts'
import { stateDirectoryOf } from '../home/state-directory.ts'
import { confirm } from './confirm.ts'
import { NodeClient } from './node-client.ts'
import { print } from './with-node.ts'

const help = `
The node stops, if it runs. The next \`shoal up\` makes a mesh of its own; \`shoal join\` joins another.
Who made the mesh holds its root key. Leaving with that needs --force: the mesh goes on only while the certificates of its
admins last.

Examples:
  shoal leave
  shoal leave --yes`

interface LeaveOptions {
  yes?: boolean
  force?: boolean
  json?: boolean
}

export function leaveCommand(): Command {
  return new Command('leave')
    .summary('stop being a member of the mesh')
    .description('Ends the membership of this machine in its mesh, for good: to come back it needs a token.')
    .option('-y, --yes', 'do not ask')
    .option('--force', 'even if this machine holds the root key of the mesh')
    .option('--json', 'print JSON, one line')
    .addHelpText('after', help)
    .action(leave)
}

async function leave(options: LeaveOptions): Promise<void> {
  const force = options.force === true
  if (!(await confirm('Leave the mesh? All work of this node stops.', options))) {
    process.exitCode = 1
    return
  }
  const client = await connect()
  const { meshName } = client === undefined ? await leaveOffline(force) : await leaveByNode(client, force)
  print({ meshName, left: true }, options, () => `This machine has left mesh ${meshName}.`)
}

async function leaveByNode(client: NodeClient, force: boolean): Promise<{ meshName: string }> {
  try {
    const left = await client.call('leave', { force })
    await client.closed
    return left
  } finally {
    client.close()
  }
}

/** Without a running node, only its files have to be changed. */
async function leaveOffline(force: boolean): Promise<{ meshName: string }> {
  const { Membership } = await import('../membership/membership.ts')
  const membership = await Membership.open(stateDirectoryOf({}), { nowMs: Date.now })
  if (!membership.isMember)
    throw new NodeUnavailableError('this machine is not a member of any mesh', { retryable: false })
  const { meshName } = membership
  await membership.leave({ force })
  return { meshName }
}

async function connect(): Promise<NodeClient | undefined> {
  try {
    return await NodeClient.connect(nodePlaces().socketPath)
  } catch (error) {
    if (error instanceof NodeUnavailableError && error.details['isRunning'] === false) return undefined
    throw error
  }
}
