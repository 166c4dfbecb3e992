import { Command } from 'commander'
import type { HeldObject, MemoryReport, ObjectHolder, ProcessReport } from '../../protocols/admin.ts'
import { nodeOf } from '../../protocols/ids.ts'
import { formatAmount } from '../../protocols/resources.ts'
import { clean, plural } from './format-text.ts'
import { formatTable } from './table.ts'
import { print, withNode } from './with-node.ts'

const help = `
What keeps a value:
  ref            a program has a ref to it, or had one until its engine looks for garbage
  borrowed       a program that does not own it has a ref to it
  argument       tasks that wait or run take it
  inside         other values, of any size, have a ref to it inside
  to rebuild     results of finished tasks could be made again with it, were they lost
  view           a program looks at the value itself
A ref inside a value that another process owns is shown as borrowed by that process.

Examples:
  shoal memory
  shoal memory --json | jq '.objects[] | select(.bytes > 1e9) | .holders'`

export function memoryCommand(): Command {
  return new Command('memory')
    .summary('show who holds the values in the object store, and why')
    .description(
      "Shows the values of over 100 KiB in the store of this machine's node, the largest first, and what keeps each of them there.",
    )
    .option('--json', 'print JSON, one line')
    .addHelpText('after', help)
    .action(show)
}

async function show(options: { json?: boolean }): Promise<void> {
  print(await withNode((client) => client.call('memory', {})), options, formatMemory)
}

/** For people to read. */
function formatMemory({ objects, more, silent }: MemoryReport): string {
  const lines = []
  if (objects.length === 0) lines.push('The object store is empty. (Values of up to 100 KiB stay with their owners.)')
  else {
    const rows = objects.map((held) => [
      held.object === '' ? held.name : held.object,
      formatAmount('memory', held.bytes),
      held.kind === 'copy' ? 'copy' : clean(held.made),
      held.where === 'both' ? 'memory, disk' : held.where,
      keptBy(held),
    ])
    lines.push(formatTable(['OBJECT', 'SIZE', 'MADE BY', 'WHERE', 'KEPT BY'], rows))
  }
  if (more > 0) lines.push(`and ${plural(more, 'smaller value')}`)
  if (silent.length > 0) {
    lines.push(`Busy, so that what they hold is not known: ${silent.map(formatProcess).join(', ')}`)
  }
  return lines.join('\n')
}

function keptBy({ holders, owner, kind }: HeldObject): string {
  const known = holders.map((holder) => `${formatHolder(holder)}: ${formatWhy(holder)}`)
  if (known.length > 0) return known.join('; ')
  const whose = `its owner ${owner} on node ${nodeOf(owner)}`
  return kind === 'copy' ? `nothing here; it goes when room is short, or when ${whose} frees it` : whose
}

function formatHolder({ process, client }: ObjectHolder): string {
  return process === undefined ? `client ${client} on node ${nodeOf(client)}` : formatProcess(process)
}

function formatProcess({ role, pid, program }: ProcessReport): string {
  const name = clean(program.split(/[\\/]/).at(-1) ?? '')
  return role === 'worker' || name === '' ? `${role} ${pid}` : `${role} ${pid} (${name})`
}

function formatWhy({ why, count }: ObjectHolder): string {
  switch (why) {
    case 'owner':
      return 'ref'
    case 'borrower':
      return 'borrowed'
    case 'task':
      return `argument of ${plural(count, 'task')}`
    case 'inside':
      return `inside ${plural(count, 'value')}`
    case 'rebuild':
      return `to rebuild ${plural(count, 'result')}`
    case 'view':
      return plural(count, 'view')
  }
}
