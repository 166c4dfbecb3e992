import { Command } from 'commander'
import { wholeNumber } from '../whole-number.ts'
import type { BenchOptions } from './bench.ts'

export function benchCommand(): Command {
  return new Command('bench')
    .description(
      "How fast it is: Ray's microbenchmark by its own names, what a node, a worker and 100,000 tasks cost, and values between nodes.",
    )
    .option('--only <name>', 'only benchmarks with this in their name')
    .option(
      '--rounds <n>',
      'how often each is measured; the table shows the median',
      wholeNumber('--rounds', 1, 100),
      4,
    )
    .option('--mib <n>', 'the size of the values that go from node to node', wholeNumber('--mib', 1, 16_384), 512)
    .option(
      '--nodes <n>',
      'how many nodes a broadcast goes to (8), or share a directory (3, and 10)',
      wholeNumber('--nodes', 2, 60),
    )
    .option('--against <file>', 'compare with an earlier run, written by --json')
    .option('--json', 'print the result as JSON')
    .option('--profile', 'profile the driver: top functions, and a .cpuprofile file for each benchmark')
    .action(async (options: BenchOptions, command: Command) => {
      // Only now: checking the sources must work while the SDK is broken.
      const { runBench } = await import('./bench.ts')
      await runBench(options, (message) => command.error(message))
    })
}
