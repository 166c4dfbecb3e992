import { Command } from 'commander'
import type { ExplainedRequest } from '../../protocols/admin.ts'
import { formatExplained } from './format-explained.ts'
import { print, withNode } from './with-node.ts'

const help = `
Examples:
  shoal explain
  shoal explain train
  shoal explain train --json | jq '.[0].nodes'`

export function explainCommand(): Command {
  return new Command('explain')
    .summary('say why tasks wait')
    .description('Says for tasks that wait for a worker where they wait, and what each node of the mesh says to them.')
    .argument('[task]', 'only tasks of this name')
    .option('--json', 'print JSON, one line')
    .addHelpText('after', help)
    .action(explain)
}

async function explain(task: string | undefined, options: { json?: boolean }): Promise<void> {
  const requests: ExplainedRequest[] = await withNode((client) => client.call('explain', { task: task ?? '' }))
  print(requests, options, () => formatExplained(requests, task))
}
