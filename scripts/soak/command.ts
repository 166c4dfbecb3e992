import { Command } from 'commander'
import { wholeNumber } from '../whole-number.ts'
import type { SoakOptions } from './soak.ts'

export function soakCommand(): Command {
  return new Command('soak')
    .description(
      'Three nodes with small stores under a mixed load of objects and refs while workers and nodes are killed: every ' +
        'value is verified, and when all is dropped nothing may be left. Prints a line of figures every now and then. Exits ' +
        'with 1 when something is wrong, or left.',
    )
    .option('--minutes <n>', 'how long the load lasts', wholeNumber('--minutes', 0, 24 * 60), 2)
    .option('--seed <n>', 'the same seed draws the same load', wholeNumber('--seed', 0, 2 ** 32 - 1), 1)
    .option('--objects <n>', 'go on until so many objects have been made', wholeNumber('--objects', 1, 1e9), 0)
    .option('--rate <n>', 'objects made in a second at most; 0: as many as can be', wholeNumber('--rate', 0, 1e6), 0)
    .option('--store <MiB>', 'the store of each node', wholeNumber('--store', 16, 64 * 1024), 96)
    .option(
      '--kill-every <s>',
      'seconds between two kills of workers; 0: none',
      wholeNumber('--kill-every', 0, 3600),
      3,
    )
    .option(
      '--kill-nodes-every <s>',
      'seconds between two kills of nodes, which are started anew; 0: none',
      wholeNumber('--kill-nodes-every', 0, 3600),
      20,
    )
    .option('--json', 'print the summary as JSON; the lines of figures go to standard error')
    .action(async (options: SoakOptions) => {
      // Only now: checking the sources must work while the SDK is broken.
      const { runSoak } = await import('./soak.ts')
      process.exitCode = await runSoak(options)
    })
}
