import { setTimeout as delay } from 'node:timers/promises'
import { Command } from 'commander'
import type { DrainReport } from '../../protocols/admin.ts'
import { DrainIncompleteError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { formatAmount } from '../../protocols/resources.ts'
import { findByPrefix } from './find-by-prefix.ts'
import { formatDuration } from './format-status.ts'
import { clean, plural } from './format-text.ts'
import { knownNodes } from './known-nodes.ts'
import type { NodeClient } from './node-client.ts'
import { parseSeconds } from './parse-options.ts'
import { UsageError } from './usage-error.ts'
import { print, withNode } from './with-node.ts'

const help = `
The node takes no new work from now on; what runs there ends, and values that only it has go to other nodes. Then it is
drained, and \`shoal down\` there loses nothing but what its own programs own. Without --deadline it takes as long as it takes.
With --force what runs at the deadline (at once, without one) is ended there and tried again elsewhere, as after a crash.
Actors stay where they are until then; ended, they are made anew elsewhere if their options allow it.
Ctrl-C ends only this command. A drained node is part of the mesh until it is stopped; --undo has it take work again.

Examples:
  shoal drain laptop7
  shoal drain 3fa1 --deadline 60 --force
  shoal drain laptop7 --undo`

interface DrainOptions {
  deadline?: number
  force?: boolean
  undo?: boolean
  json?: boolean
}

const lookMs = 300

export function drainCommand(): Command {
  return new Command('drain')
    .summary('take a node out of service')
    .description('Takes a node out of service, and waits until it is. Of other nodes, only admins may do that.')
    .argument('<node>', 'its name, its id, or the beginning of that')
    .option('--deadline <seconds>', 'fail when it is not drained by then', parseSeconds('--deadline'))
    .option('--force', 'end what runs at the deadline')
    .option('--undo', 'have it take work again')
    .option('--json', 'print JSON, one line')
    .addHelpText('after', help)
    .action(drain)
}

async function drain(typed: string, { deadline, force, undo, ...options }: DrainOptions): Promise<void> {
  if (undo === true && (deadline !== undefined || force === true)) throw new UsageError('--undo takes no other option')
  const report = await withNode(async (client) => {
    const { id } = findByPrefix('node', typed, await knownNodes(client))
    const how = { node: id, force: force === true, undo: undo === true }
    const begun = await client.call('drain', { ...how, ...(deadline === undefined ? {} : { deadlineMs: deadline }) })
    return undo === true ? begun : follow(client, id, begun, options.json !== true)
  })
  print(report, options, formatDrain)
}

/** Shows how it goes on until it is done. Throws DrainIncompleteError when it is not done in time, or somebody undoes it. */
async function follow(client: NodeClient, node: NodeId, begun: DrainReport, isShown: boolean): Promise<DrainReport> {
  let shown = ''
  for (let report = begun; ; report = await client.call('drainStatus', { node })) {
    if (report.state === 'drained') return report
    if (report.state !== 'draining') throw incomplete(report)
    const text = formatProgress(report)
    if (isShown && text !== shown) process.stderr.write(`${text}\n`)
    shown = text
    await delay(lookMs)
  }
}

function incomplete(report: DrainReport): DrainIncompleteError {
  const who = `node ${clean(report.name)} (${report.node})`
  const message =
    report.state === 'open'
      ? `${who} takes work again: somebody has undone this`
      : `${who} is not drained by its deadline: ${formatProgress(report)}; it takes no new work and goes on: \`shoal drain\` again waits for it, --force ends what runs, --undo has it take work`
  return new DrainIncompleteError(message, { ...report })
}

/** What is still to be done. */
export function formatProgress({ running, toMove, stuck, leftMs }: DrainReport): string {
  const labels = [...new Set(running.map(({ label }) => clean(label)))].slice(0, 5)
  const parts = [
    ...(running.length === 0 ? [] : [`${plural(running.length, 'worker')} still in use (${labels.join(', ')})`]),
    ...(toMove.values === 0
      ? []
      : [`${plural(toMove.values, 'value')} to move (${formatAmount('memory', toMove.bytes)})`]),
    ...(stuck.values === 0
      ? []
      : [
          `${plural(stuck.values, 'value')} (${formatAmount('memory', stuck.bytes)}) cannot be moved: ${clean(stuck.problem)}`,
        ]),
    ...(leftMs === undefined ? [] : [`${formatDuration(Math.ceil(leftMs / 1000) * 1000)} left`]),
  ]
  return parts.length === 0 ? 'almost done' : parts.join('; ')
}

/** For people to read. */
export function formatDrain(report: DrainReport): string {
  const { name, node, state, moved, toMove, stuck, staying, programs } = report
  const who = `${clean(name)} (${node})`
  if (state === 'open') return `${who} takes work.`
  const lost = toMove.values + stuck.values
  const lines = [`${who} is drained: \`shoal down\` there stops it.`]
  if (moved.values > 0) lines.push(`${plural(moved.values, 'value')} moved (${formatAmount('memory', moved.bytes)})`)
  if (lost > 0) {
    lines.push(
      `${plural(lost, 'value')} could not be moved: ${stuck.problem === '' ? 'time was short' : clean(stuck.problem)}`,
    )
  }
  if (staying.values > 0) {
    lines.push(
      `${plural(staying.values, 'value')} (${formatAmount('memory', staying.bytes)}) of its own processes end with it`,
    )
  }
  if (programs.length > 0) {
    lines.push(
      `Programs that are attached to it: ${programs.map(({ pid, program }) => `${clean(program)} (pid ${pid})`).join(', ')}`,
    )
  }
  return lines.join('\n')
}
