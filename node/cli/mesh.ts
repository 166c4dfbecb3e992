import { once } from 'node:events'
import { Command } from 'commander'
import type { LocalMesh } from '../local-mesh/local-mesh.ts'
import { parseAmount, parseCount } from './parse-options.ts'
import { formatTable } from './table.ts'

const help = `
Each node has its own runtime folder, state folder and port, in a temporary folder that is deleted at the end. They listen on
127.0.0.1 only.

Examples:
  shoal mesh
  shoal mesh --nodes 5 --cpus 2
  SHOAL_RUNTIME_DIR=/tmp/shoal-mesh-Ab12Cd/n1 shoal nodes`

interface MeshOptions {
  nodes: number
  cpus: number
  json?: boolean
}

export function meshCommand(): Command {
  return new Command('mesh')
    .summary('start several nodes on this machine, to try things out')
    .description('Starts several nodes on this machine that are one mesh, and ends them all with Ctrl-C.')
    .option('--nodes <count>', 'how many, 64 at most', parseCount('--nodes', 'a whole number', 1), 3)
    .option('--cpus <number>', 'CPUs that each offers to tasks', parseAmount('--cpus', 'a number of CPUs'), 1)
    .option('--json', 'print one line of JSON when all are ready')
    .addHelpText('after', help)
    .action(mesh)
}

async function mesh({ nodes, cpus, json }: MeshOptions): Promise<void> {
  let isStopping = false
  const signals = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => once(process, signal))
  const stopAsked = Promise.race(signals).then(() => {
    isStopping = true
  })
  const { startLocalMesh } = await import('../local-mesh/local-mesh.ts')
  await using local = await startLocalMesh({ nodes, cpus })
  process.stdout.write(json === true ? `${JSON.stringify(toJson(local))}\n` : `${describe(local)}\n`)
  const ended = local.ended.map(async (node) => {
    const { name } = await node
    // Whoever ends a node wants to see what the others do.
    if (!isStopping) process.stderr.write(`The node ${name} has ended.\n`)
  })
  await Promise.race([stopAsked, Promise.all(ended)])
  isStopping = true
}

function toJson({ directory, nodes }: LocalMesh): unknown {
  return { directory, nodes }
}

function describe({ nodes }: LocalMesh): string {
  const [first] = nodes
  const rows = nodes.map(({ name, nodeId, pid, addresses, runtimeDirectory }) => [
    name,
    nodeId,
    String(pid),
    addresses[0] ?? '-',
    runtimeDirectory,
  ])
  return [
    formatTable(['NAME', 'NODE', 'PID', 'ADDRESS', 'RUNTIME FOLDER'], rows),
    '',
    'To use one of them, name its runtime folder:',
    `  export SHOAL_RUNTIME_DIR=${first?.runtimeDirectory ?? ''}`,
    '  shoal nodes',
    '  shoal run FILE',
    'Ctrl-C stops them all.',
  ].join('\n')
}
