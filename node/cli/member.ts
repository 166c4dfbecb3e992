import { Command } from 'commander'
import type { MemberReport } from '../../protocols/admin.ts'
import { confirm } from './confirm.ts'
import { findByPrefix } from './find-by-prefix.ts'
import { formatDuration } from './format-status.ts'
import { clean } from './format-text.ts'
import { styled } from './style.ts'
import { formatTable } from './table.ts'
import { print, withNode } from './with-node.ts'

const help = `
Examples:
  shoal member list
  shoal member revoke laptop7
  shoal member revoke 3fa1 --reason "stolen" --yes`

export function memberCommand(): Command {
  const command = new Command('member')
    .summary('list and revoke members of the mesh')
    .description(
      'Members are the machines that have joined the mesh. A revoked one can join again only with a new token.',
    )
    .addHelpText('after', help)
  command
    .command('list')
    .description('Lists the members that the node of this machine knows, and those that were revoked.')
    .option('--json', 'print JSON, one line')
    .addHelpText('after', '\nExamples:\n  shoal member list')
    .action(list)
  command
    .command('revoke')
    .description('Throws a machine out of the mesh: all others refuse it from now on. Needs a node that is an admin.')
    .argument('<node>', 'its name, its id, or the beginning of that')
    .option('--reason <text>', 'why, for the log')
    .option('-y, --yes', 'do not ask')
    .option('--json', 'print JSON, one line')
    .addHelpText(
      'after',
      '\nExamples:\n  shoal member revoke laptop7\n  shoal member revoke 3fa1 --reason "stolen" --yes',
    )
    .action(revoke)
  return command
}

async function list(options: { json?: boolean }): Promise<void> {
  print(await withNode((client) => client.call('memberList', {})), options, formatMembers)
}

function formatMembers(members: readonly MemberReport[]): string {
  const nowMs = Date.now()
  const rows = members.map(({ node, name, role, state, isSelf, certificateExpiresAtMs, revokedAtMs }) => [
    name === undefined ? '-' : clean(name),
    node,
    role ?? '-',
    state === 'revoked' ? styled('red', state) : isSelf ? 'this node' : state === 'suspected' ? 'silent' : state,
    revokedAtMs !== undefined
      ? `revoked ${formatDuration(Math.max(0, nowMs - revokedAtMs))} ago`
      : certificateExpiresAtMs === undefined
        ? '-'
        : `expires in ${formatDuration(Math.max(0, certificateExpiresAtMs - nowMs))}`,
  ])
  return formatTable(['NAME', 'NODE', 'ROLE', 'STATE', 'CERTIFICATE'], rows)
}

interface RevokeOptions {
  reason?: string
  yes?: boolean
  json?: boolean
}

async function revoke(typed: string, { reason, ...options }: RevokeOptions): Promise<void> {
  const done = await withNode(async (client) => {
    const members = await client.call('memberList', {})
    const choices = members
      .filter(({ state }) => state !== 'revoked')
      .map(({ node, name, isSelf }) => ({ id: node, name, isSelf }))
    const { id, name = id } = findByPrefix('member', typed, choices)
    if (!(await confirm(`Throw ${clean(name)} (${id}) out of the mesh?`, options))) return undefined
    await client.call('memberRevoke', { node: id, ...(reason === undefined ? {} : { reason }) })
    return { node: id, name, revoked: true }
  })
  if (done === undefined) process.exitCode = 1
  else print(done, options, ({ node, name }) => `${clean(name)} (${node}) is no longer a member.`)
}
