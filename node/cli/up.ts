import { Command } from 'commander'
import { addStartOptions, nodeOptionsOf, type StartOptions } from './start-options.ts'
import { startNode } from './start-node.ts'

const examples = `
The first time it makes a mesh, which other machines can join. Later it comes back to the mesh that it belongs to.

Examples:
  shoal up                                  what the machine has, in the foreground
  shoal up --detach                         in the background; ends with \`shoal down\`
  shoal up --cpus 4 --gpus 1 --resource tpu=2
  shoal up --memory 8GiB --store 4GiB
  shoal up --label zone=lab1 --listen 192.168.1.7:7461
  shoal up --no-mesh                        this machine only, no network`

export function upCommand(): Command {
  const command = new Command('up')
    .summary('start the node of this machine')
    .description('Starts the node of this machine, in the foreground. What is not given is detected.')
  return addStartOptions(command)
    .option('--no-mesh', 'no network at all: the node is on its own')
    .addHelpText('after', examples)
    .action((options: StartOptions) => startNode(nodeOptionsOf(options), options))
}
