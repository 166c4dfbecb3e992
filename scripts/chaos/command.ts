import { Command } from 'commander'
import { wholeNumber } from '../whole-number.ts'
import type { ChaosOptions } from './chaos.ts'

export function chaosCommand(): Command {
  return new Command('chaos')
    .description(
      'Nodes in networks of their own under a mixed load (tasks, nested tasks, actors, streams, objects) while workers, nodes ' +
        'and the head are killed, stopped and cut off, and come back. Every result must be right, or an error that its options ' +
        'allow; none may be lost or hang; nothing may be left. Needs the right to make network namespaces. Exits with 1 when something is wrong.',
    )
    .option('--minutes <n>', 'how long the load lasts', wholeNumber('--minutes', 0, 24 * 60), 20)
    .option('--seconds <n>', 'besides the minutes', wholeNumber('--seconds', 0, 3600), 0)
    .option('--nodes <n>', 'nodes, that of the program included', wholeNumber('--nodes', 3, 16), 5)
    .option('--seed <n>', 'the same seed draws the same load and trouble', wholeNumber('--seed', 0, 2 ** 32 - 1), 1)
    .option('--every <s>', 'seconds between two troubles', wholeNumber('--every', 1, 3600), 5)
    .option('--json', 'print the report as JSON at the end', false)
    .action(async (options: Omit<ChaosOptions, 'say'>) => {
      // Only now: checking the sources must work while the SDK is broken.
      const { runChaos } = await import('./chaos.ts')
      const say = (text: string): void => void process.stderr.write(`${text}\n`)
      const report = await runChaos({
        ...options,
        say: options.json ? say : (text) => void process.stdout.write(`${text}\n`),
      })
      if (options.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
      process.exitCode = report.problems.length === 0 ? 0 : 1
    })
}
