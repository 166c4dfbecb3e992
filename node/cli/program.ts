import { styleText } from 'node:util'
import { Command, CommanderError } from 'commander'
import { ShoalError } from '../../protocols/errors.ts'
import { shoalVersion } from '../../protocols/version.ts'
import { actorsCommand } from './actors.ts'
import { doctorCommand } from './doctor.ts'
import { drainCommand } from './drain.ts'
import { downCommand } from './down.ts'
import { memoryCommand } from './memory.ts'
import { objectsCommand } from './objects.ts'
import { eventsCommand } from './events.ts'
import { explainCommand } from './explain.ts'
import { joinCommand } from './join.ts'
import { leaveCommand } from './leave.ts'
import { memberCommand } from './member.ts'
import { logsCommand } from './logs.ts'
import { meshCommand } from './mesh.ts'
import { nodesCommand } from './nodes.ts'
import { placementGroupsCommand } from './placement-groups.ts'
import { runCommand } from './run.ts'
import { statusCommand } from './status.ts'
import { tasksCommand } from './tasks.ts'
import { timelineCommand } from './timeline.ts'
import { tokenCommand } from './token.ts'
import { upCommand } from './up.ts'
import { UsageError } from './usage-error.ts'

const exitCodes = `
Exit codes:
  0  done
  1  it did not work: no node runs, a node runs already, the program failed, doctor found a failure
  2  wrong usage: unknown command or option, or a value that cannot be
  \`shoal run\` passes on the exit code of the program.

Environment:
  SHOAL_RUNTIME_DIR  the folder of the node's socket; set it to run several nodes on one machine
  SHOAL_STATE_DIR    the folder of what outlives the node: its key and its membership
  SHOAL_LISTEN       where the node listens, such as 192.168.1.7:7461, unless --listen says it
  SHOAL_TOKEN        the token of \`shoal join\`
  NO_COLOR           no colours

Examples:
  shoal up --detach        start a node in the background
  shoal run search.ts      run a program on it
  shoal status             see what it does
  shoal join TOKEN         on another machine: add it to the mesh
  shoal nodes              see all machines
  shoal down               stop the node of this machine`

const commands = [
  upCommand,
  joinCommand,
  downCommand,
  statusCommand,
  nodesCommand,
  tasksCommand,
  actorsCommand,
  timelineCommand,
  eventsCommand,
  logsCommand,
  explainCommand,
  placementGroupsCommand,
  objectsCommand,
  memoryCommand,
  runCommand,
  tokenCommand,
  memberCommand,
  leaveCommand,
  drainCommand,
  doctorCommand,
  meshCommand,
]

function buildProgram(): Command {
  const program = new Command('shoal')
  program
    .description(
      'Remote functions on every machine you have. Starts, shows and stops the node of this machine, and its mesh.',
    )
    .version(shoalVersion, '-V, --version', 'show the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show the help of a command')
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .addHelpText('after', exitCodes)
  for (const make of commands) program.addCommand(make())
  reportErrorsHere(program)
  return program
}

function reportErrorsHere(command: Command): void {
  command.exitOverride()
  command.configureOutput({ outputError: () => {} })
  for (const below of command.commands) reportErrorsHere(below)
}

/** Runs one command and sets the exit code. */
export async function runCommandLine(argv: readonly string[]): Promise<void> {
  // `shoal status | head` ends when head does.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
  try {
    await buildProgram().parseAsync(argv)
  } catch (error) {
    process.exitCode = report(error)
  }
}

function report(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0
    // Without a command, commander has shown the help.
    if (error.code !== 'commander.help') complain(error.message.replace(/^error: /, ''), 'see `shoal --help`')
    return 2
  }
  if (error instanceof UsageError) {
    complain(error.message, 'see `shoal --help`')
    return 2
  }
  if (error instanceof ShoalError) complain(error.message)
  else complain(error instanceof Error ? (error.stack ?? error.message) : String(error))
  return 1
}

function complain(message: string, hint?: string): void {
  const name = styleText('red', 'shoal:', { stream: process.stderr })
  process.stderr.write(`${name} ${message}\n${hint === undefined ? '' : `       ${hint}\n`}`)
}
