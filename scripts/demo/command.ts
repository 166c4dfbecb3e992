import { Command, Option } from 'commander'
import { wholeNumber } from '../whole-number.ts'
import type { DemoOptions } from './demo.ts'
import { candidatesMax } from './search-space.ts'

export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'A randomised search for the parameters of a support vector machine that recognises 1,797 handwritten digits, ' +
        'each candidate judged by 5-fold cross-validation, each fold a task on a worker.',
    )
    .option('--candidates <n>', 'how many candidates to try', wholeNumber('--candidates', 1, candidatesMax), 30)
    .option('--seed <n>', 'the same seed draws the same candidates', wholeNumber('--seed', 0, 2 ** 32 - 1), 2)
    .addOption(
      new Option('--compare <how>', 'what is also run in one process, to tell the speed-up')
        .choices(['sample', 'all', 'none'])
        .default('sample'),
    )
    .option('--json', 'print the result as JSON, the progress to standard error')
    .action(async (options: DemoOptions) => {
      // Only now: checking the sources must work while the SDK is broken.
      const { runDemo } = await import('./demo.ts')
      await runDemo(options)
    })
}
