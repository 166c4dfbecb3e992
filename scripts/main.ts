import { Command } from 'commander'
import { benchCommand } from './bench/command.ts'
import { build } from './build.ts'
import { chaosCommand } from './chaos/command.ts'
import { check, stepNames } from './check.ts'
import { demoCommand } from './demo/command.ts'
import { soakCommand } from './soak/command.ts'

/** The one entry of what is done with the sources: `npm run demo`, `npm run bench`, `npm test`, and the build for npm. */
const program = new Command('scripts').description('What is done with the sources of Shoal').showHelpAfterError()

program.addCommand(demoCommand())
program.addCommand(benchCommand())
program.addCommand(soakCommand())
program.addCommand(chaosCommand())
program
  .command('build')
  .description('writes dist/: JavaScript, declarations and source maps, as they are published')
  .action(async () => {
    await build()
  })
program
  .command('check')
  .description('types, lint, format, dead code and all tests; stops at the first step that fails')
  .argument('[steps...]', `run only these: ${stepNames.join(', ')}`)
  .action(async (steps: string[]) => {
    process.exitCode = await check(steps)
  })

await program.parseAsync()
