import { Command } from 'commander'
import type { AdminValue } from '../../protocols/admin.ts'
import { formatBundle, type GroupReport } from '../../protocols/placement-groups.ts'
import { formatDuration } from './format-status.ts'
import { clean, plural } from './format-text.ts'
import { styled } from './style.ts'
import { formatTable } from './table.ts'
import { print, withNode } from './with-node.ts'

const help = `
State: \`pending\` waits for room; \`infeasible\` fits nowhere, however empty the nodes are, until one joins on which it does.

Examples:
  shoal placement-groups
  shoal placement-groups --json | jq '.groups[] | select(.state != "ready") | .reason'`

export function placementGroupsCommand(): Command {
  return new Command('placement-groups')
    .summary('list the placement groups of the mesh')
    .description(
      'Lists the placement groups of the programs in the mesh, the oldest first: where their bundles are, or why they wait.',
    )
    .option('--json', 'print JSON, one line')
    .addHelpText('after', help)
    .action(async (options: { json?: boolean }) => {
      const found = await withNode((client) => client.call('placementGroups', {}))
      print(found, options, formatGroups)
    })
}

/** Groups for people to read. */
function formatGroups({ groups, more }: AdminValue<'placementGroups'>): string {
  if (groups.length === 0) return 'There is no placement group.'
  const rows = groups.flatMap((group) => [
    [group.id, clean(group.name), group.strategy, stateText(group), formatDuration(group.ageMs)],
    ...group.bundles.map((bundle, index) => [`  bundle ${index}`, formatBundle(bundle), '', bundle.node ?? 'nowhere']),
  ])
  const waiting = groups.flatMap(({ id, reason }) => (reason === '' ? [] : [`${id} waits: ${clean(reason)}`]))
  return [
    formatTable(['GROUP', 'NAME', 'STRATEGY', 'STATE / NODE', 'AGE'], rows),
    ...waiting,
    ...(more === 0 ? [] : [`and ${plural(more, 'younger group')}`]),
  ].join('\n')
}

function stateText({ state }: GroupReport): string {
  return state === 'ready' ? state : styled('yellow', state)
}
