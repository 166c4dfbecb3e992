import { Command } from 'commander'
import { formatActors, listActors } from './format-actors.ts'
import { print, withNode } from './with-node.ts'

const help = `
An actor is \`pending\` until it has a process and its constructor has run, then \`alive\`; \`restarting\` when its process has
died and it gets another. Its owner is the program, task or actor that made it; a detached one has none.

Examples:
  shoal actors
  shoal actors Counter
  shoal actors --json | jq '.actors[] | select(.isDetached)'`

export function actorsCommand(): Command {
  return new Command('actors')
    .summary('list the actors of the mesh')
    .description('Lists the actors of all nodes that are not dead: their names, where they are, and who owns them.')
    .argument('[actor]', 'only actors with this in the name of their class or their own, or with an id that begins so')
    .option('--json', 'print JSON, one line')
    .addHelpText('after', help)
    .action(actors)
}

async function actors(only: string | undefined, options: { json?: boolean }): Promise<void> {
  const answers = await withNode((client) => client.call('actors', {}))
  print(listActors(answers, only), options, formatActors)
}
