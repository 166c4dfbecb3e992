import { Command } from 'commander'
import { formatNodes } from './format-nodes.ts'
import { print, withNode } from './with-node.ts'

const help = `
State: \`linked\` can be reached from here; \`unlinked\` is known by hearsay; \`silent\` was not heard of for a while and
disappears from the list if that goes on. The head places the work of all; if it fails, another node takes over.

Examples:
  shoal nodes
  shoal nodes --long
  shoal nodes --json | jq '.[] | {name, linked}'`

export function nodesCommand(): Command {
  return new Command('nodes')
    .summary('list the nodes of the mesh')
    .description('Lists the nodes of the mesh as the node of this machine sees them, and what each has free.')
    .option('-l, --long', 'with all addresses, GPUs, labels and versions')
    .option('--json', 'print JSON, one line')
    .addHelpText('after', help)
    .action(nodes)
}

async function nodes(options: { json?: boolean; long?: boolean }): Promise<void> {
  const reports = await withNode((client) => client.call('nodes', {}))
  print(reports, options, () => formatNodes(reports, { isLong: options.long === true }))
}
