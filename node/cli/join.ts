import { Command } from 'commander'
import { addStartOptions, nodeOptionsOf, type StartOptions } from './start-options.ts'
import { readToken } from './read-token.ts'
import { startNode } from './start-node.ts'

const examples = `
The token is in what \`shoal up\` and \`shoal token create\` print on a machine of the mesh. It is needed once: from then on
the machine is a member, and \`shoal up\` is enough. On a machine that others use, too, a token typed into the command line
can be seen by them; \`-\` and SHOAL_TOKEN keep it to yourself.

Examples:
  shoal join shoal1.Yk3v....Qw@/ip4/192.168.1.7/tcp/7461
  shoal join - < token.txt
  SHOAL_TOKEN=... shoal join --detach`

export function joinCommand(): Command {
  const command = new Command('join')
    .summary('join a mesh, and start the node of this machine')
    .description('Makes this machine a member of a mesh and starts its node, as `shoal up` does.')
    .argument('[token]', 'the token; - reads it from standard input')
  return addStartOptions(command).addHelpText('after', examples).action(join)
}

async function join(typed: string | undefined, options: StartOptions): Promise<void> {
  // Options that cannot be are found before anything is read.
  nodeOptionsOf(options)
  await startNode(nodeOptionsOf(options, { join: await readToken(typed) }), options)
}
