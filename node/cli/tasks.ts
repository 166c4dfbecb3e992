import { Command } from 'commander'
import { formatTasks, listTasks } from './format-tasks.ts'
import { parseCount } from './parse-options.ts'
import { print, withNode } from './with-node.ts'

const help = `
States: \`running\`; \`queued\` for a worker, or on one behind another task; \`waiting\` for its arguments; \`finished\`,
\`failed\`, \`cancelled\`. Of very many short tasks several of one name are one line. Each node remembers the last 10,000; what
a worker did in its last 200 ms is not known when it has been killed.

Examples:
  shoal tasks
  shoal tasks train --limit 100
  shoal tasks --json | jq '.tasks[] | select(.state == "failed")'`

export function tasksCommand(): Command {
  return new Command('tasks')
    .summary('list the tasks of the mesh')
    .description(
      'Lists the tasks of all nodes: those that run, those that wait, and the last ones that have ended, with where they ran.',
    )
    .argument('[task]', 'only tasks with this in their name, or with an id that begins so')
    .option(
      '-n, --limit <count>',
      'so many ended ones, 1000 of each node at most',
      parseCount('--limit', 'a number of tasks', 1),
      20,
    )
    .option('--json', 'print JSON, one line')
    .addHelpText('after', help)
    .action(tasks)
}

async function tasks(
  only: string | undefined,
  { limit, ...options }: { limit: number; json?: boolean },
): Promise<void> {
  // A node does not know which of its ended tasks are meant.
  const asked = only === undefined ? Math.min(limit, 1000) : 1000
  const answers = await withNode((client) => client.call('tasks', { limit: asked }))
  print(listTasks(answers, { limit, only }), options, formatTasks)
}
