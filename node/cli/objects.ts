import { Command } from 'commander'
import type { LocatedObject, MemoryReport } from '../../protocols/admin.ts'
import { formatAmount } from '../../protocols/resources.ts'
import { formatDuration } from './format-status.ts'
import { clean, plural } from './format-text.ts'
import { parseObjectId } from './parse-options.ts'
import { formatTable } from './table.ts'
import { print, withNode } from './with-node.ts'

/** Of what nothing is to be found in any store. */
const smallValues = 'Values of up to 100 KiB stay with their owners.'

const help = `
Examples:
  shoal objects                     what lies in the store of this machine's node
  shoal objects locate 0a1b…        which nodes hold an object, by its id alone
  shoal objects --json | jq '.objects[0]'`

export function objectsCommand(): Command {
  return new Command('objects')
    .summary('show the values in the object store')
    .description(
      "Shows the values of over 100 KiB in the store of this machine's node, the largest first: what they are, whose, where, which processes look at them, and how many have refs to them.",
    )
    .option('--json', 'print JSON, one line')
    .addHelpText('after', help)
    .action(list)
    .addCommand(
      new Command('locate')
        .summary('find the nodes that hold an object')
        .description(
          'Asks the DHT of the mesh which nodes hold an object, by its id. Exits with 1 when none is found that does.',
        )
        .argument('<id>', 'the id of a ref, all of it, as `shoal objects` shows it', parseObjectId)
        .option('--json', 'print JSON, one line')
        .action(locate),
    )
}

async function list(options: { json?: boolean }): Promise<void> {
  const report = await withNode((client) => client.call('memory', {}))
  print(report, options, formatObjects)
}

async function locate(id: string, _: { json?: boolean }, command: Command): Promise<void> {
  const options = command.optsWithGlobals<{ json?: boolean }>()
  const found: LocatedObject = await withNode((client) => client.call('objectLocate', { id }))
  print(found, options, () => formatLocated(id, found))
  if (found.holders.length === 0) process.exitCode = 1
}

/** Values for people to read. */
function formatObjects({ objects, more, silent }: MemoryReport): string {
  if (objects.length === 0) return `The object store is empty. (${smallValues})`
  const rows = objects.map(({ object, name, bytes, owner, kind, where, viewedBy, holders, ageMs }) => [
    object === '' ? name : object,
    formatAmount('memory', bytes),
    owner,
    kind,
    where === 'both' ? 'memory, disk' : where,
    viewedBy.length === 0 ? '' : `pid ${[...new Set(viewedBy)].join(', ')}`,
    // Of those that are busy it is not known what they hold.
    `${new Set(holders.filter(({ why }) => why !== 'view').map(({ client }) => client)).size}${silent.length > 0 ? '+' : ''}`,
    formatDuration(ageMs),
  ])
  const table = formatTable(['OBJECT', 'SIZE', 'OWNER', 'KIND', 'WHERE', 'PINNED BY', 'REFS', 'AGE'], rows)
  return more === 0 ? table : `${table}\nand ${plural(more, 'smaller value')}`
}

export function formatLocated(id: string, { holders, ms }: LocatedObject): string {
  if (holders.length === 0) return `No node that can be reached holds ${clean(id)}. (${smallValues})`
  return [...holders.map(({ node, name }) => `${clean(name)} (${node})`), `found in ${ms.toFixed(1)} ms`].join('\n')
}
