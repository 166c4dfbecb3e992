import { Command } from 'commander'
import type { CreatedToken, TokenReport } from '../../protocols/admin.ts'
import type { MemberRole } from '../../protocols/membership.ts'
import { findByPrefix } from './find-by-prefix.ts'
import { formatDuration } from './format-status.ts'
import { plural } from './format-text.ts'
import { parseChoice, parseCount, parseDuration } from './parse-options.ts'
import { formatTable } from './table.ts'
import { print, withNode } from './with-node.ts'

const roles = ['worker', 'submitter', 'admin'] as const satisfies readonly MemberRole[]

const help = `
Roles:
  worker     runs tasks of others
  submitter  has its tasks run by others, and offers nothing itself
  admin      both, and may let others in and revoke them

Examples:
  shoal token create
  shoal token create --role admin --ttl 2d --uses 5
  shoal token list
  shoal token revoke 3fa1`

interface CreateOptions {
  role: MemberRole
  ttl: number
  uses: number
  json?: boolean
}

export function tokenCommand(): Command {
  const command = new Command('token')
    .summary('make, list and revoke tokens that machines join with')
    .description(
      'Tokens let machines join the mesh. Only the node that made one lets others in by it, so it has to be up.',
    )
    .addHelpText('after', help)
  command
    .command('create')
    .description('Makes a token and prints what to type on the machine that is to join.')
    .option('--role <role>', `what the machine will be: ${roles.join(', ')}`, parseChoice('--role', roles), 'worker')
    .option('--ttl <time>', 'how long it is valid, such as 30m, 1h or 2d', parseDuration('--ttl'), 3_600_000)
    .option('--uses <count>', 'how many machines may join with it', parseCount('--uses', 'a whole number', 1), 1)
    .option('--json', 'print JSON, one line')
    .addHelpText('after', '\nExamples:\n  shoal token create\n  shoal token create --role admin --ttl 2d --uses 5')
    .action(create)
  command
    .command('list')
    .description('Lists the tokens that this node has made and that are still valid.')
    .option('--json', 'print JSON, one line')
    .addHelpText('after', '\nExamples:\n  shoal token list')
    .action(list)
  command
    .command('revoke')
    .description('Makes a token useless. Who has joined with it stays a member; see `shoal member revoke`.')
    .argument('<id>', 'the id of the token, or the beginning of it')
    .option('--json', 'print JSON, one line')
    .addHelpText('after', '\nExamples:\n  shoal token revoke 3fa1')
    .action(revoke)
  return command
}

async function create({ role, ttl, uses, ...options }: CreateOptions): Promise<void> {
  const created = await withNode((client) => client.call('tokenCreate', { role, ttlMs: ttl, uses }))
  print(created, options, formatCreated)
}

function formatCreated({ id, token, role, expiresAtMs, uses }: CreatedToken): string {
  const who = uses === 1 ? `one ${role}` : `${uses} ${role}s`
  const valid = formatDuration(Math.max(0, Math.round((expiresAtMs - Date.now()) / 1000) * 1000))
  return `Token ${id} lets ${who} join, for ${valid}. Type there:\n  shoal join ${token}`
}

async function list(options: { json?: boolean }): Promise<void> {
  print(await withNode((client) => client.call('tokenList', {})), options, formatTokens)
}

function formatTokens(tokens: readonly TokenReport[]): string {
  if (tokens.length === 0) return 'This node has no valid tokens; `shoal token create` makes one.'
  const nowMs = Date.now()
  const rows = tokens.map(({ id, role, uses, usesLeft, createdAtMs, expiresAtMs }) => [
    id,
    role,
    `${usesLeft} of ${uses}`,
    `${formatDuration(Math.max(0, nowMs - createdAtMs))} ago`,
    `in ${formatDuration(Math.max(0, expiresAtMs - nowMs))}`,
  ])
  return `${formatTable(['ID', 'ROLE', 'USES LEFT', 'MADE', 'EXPIRES'], rows)}\n\n${plural(tokens.length, 'token')}`
}

async function revoke(typed: string, options: { json?: boolean }): Promise<void> {
  const id = await withNode(async (client) => {
    const token = findByPrefix('valid token', typed, await client.call('tokenList', {}))
    await client.call('tokenRevoke', { id: token.id })
    return token.id
  })
  print({ id, revoked: true }, options, () => `Token ${id} is revoked.`)
}
