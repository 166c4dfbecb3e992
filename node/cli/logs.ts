import { setTimeout as delay } from 'node:timers/promises'
import { Command } from 'commander'
import type { NodeLogPart, NodeReport, OutputLine } from '../../protocols/admin.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { clean } from './format-text.ts'
import { knownNodes } from './known-nodes.ts'
import type { NodeClient } from './node-client.ts'
import { parseCount } from './parse-options.ts'
import { styled } from './style.ts'
import { UsageError } from './usage-error.ts'
import { withNode } from './with-node.ts'

const help = `
What is meant: the name of a node, its id or the beginning of that (six digits and more) shows that node's own log; a number,
what the worker with this pid has printed; anything else, what tasks with this in their name, or with this id, have printed.
--task, --pid and --node say it outright. Each node keeps the last 256 KiB of each of its last 64 workers.

Examples:
  shoal logs train
  shoal logs 12345 --follow
  shoal logs laptop7 --tail 500
  shoal logs --task 3fa1… --json | jq -r .text`

const lookMs = 400
/** Lines of one node in one answer. */
const partMax = 1000
const idDigitsMin = 6

interface LogsOptions {
  tail: number
  follow?: boolean
  timestamps?: boolean
  json?: boolean
  task?: string
  pid?: number
  node?: string
}

/** What to show: the log of a node, or what workers have printed. */
export type LogTarget =
  | { readonly kind: 'node'; readonly id: NodeId; readonly name: string }
  | { readonly kind: 'output'; readonly pid?: number; readonly task?: string }

export function logsCommand(): Command {
  return new Command('logs')
    .summary('show what tasks and workers have printed, and the log of a node')
    .description(
      'Shows what tasks and workers have printed, on whatever node of the mesh, or the log of a node itself.',
    )
    .argument('[what]', 'a task, a pid of a worker, or a node')
    .option(
      '-n, --tail <lines>',
      'the last so many, 1000 of each node at most',
      parseCount('--tail', 'a number of lines', 1),
      100,
    )
    .option('-f, --follow', 'go on with what comes, until Ctrl-C')
    .option('-t, --timestamps', 'with the time of each line')
    .option('--task <task>', 'tasks with this in their name, or with an id that begins so')
    .option('--pid <pid>', 'the worker with this pid', parseCount('--pid', 'a pid', 1))
    .option('--node <node>', 'the log of this node')
    .option('--json', 'print JSON, one line for each line')
    .addHelpText('after', help)
    .action(logs)
}

async function logs(what: string | undefined, options: LogsOptions): Promise<void> {
  // Ctrl-C is how following ends, so it is no failure.
  if (options.follow === true) process.once('SIGINT', () => process.exit(0))
  const { task, pid, node } = options
  const given = [what, task, pid, node].filter((each) => each !== undefined)
  if (given.length !== 1)
    throw new UsageError('say whose output is meant: a task, a pid or a node, and only one of them')
  await withNode(async (client) => {
    const target = await targetOf(client, what ?? node ?? '', options)
    if (target.kind === 'node') await showNodeLog(client, target, options)
    else await showOutput(client, target, options)
  })
}

async function targetOf(client: NodeClient, text: string, { task, pid, node }: LogsOptions): Promise<LogTarget> {
  if (task !== undefined) return { kind: 'output', task }
  if (pid !== undefined) return { kind: 'output', pid }
  const target = findTarget(text, await knownNodes(client))
  if (node === undefined || target.kind === 'node') return target
  throw new UsageError(`there is no node ${JSON.stringify(node)}`)
}

/** What a person means. Throws UsageError when it may be several nodes. */
export function findTarget(text: string, nodes: readonly Pick<NodeReport, 'id' | 'name'>[]): LogTarget {
  const isDigits = /^[1-9]\d{0,9}$/.test(text)
  const found = nodes.filter(({ id, name }) => {
    return name === text || id === text || (text.length >= idDigitsMin && !isDigits && id.startsWith(text))
  })
  const [only, ...more] = found
  if (more.length > 0) {
    const all = found.map(({ id, name }) => `${clean(name)} (${id})`).join(' or ')
    throw new UsageError(`${JSON.stringify(text)} may be ${all}: give more of the id`)
  }
  if (only !== undefined) return { kind: 'node', ...only }
  return isDigits ? { kind: 'output', pid: Number(text) } : { kind: 'output', task: text }
}

async function showNodeLog(
  client: NodeClient,
  { id }: Extract<LogTarget, { kind: 'node' }>,
  { tail, follow, json }: LogsOptions,
): Promise<void> {
  const ask = (from: number, isTail: boolean): Promise<NodeLogPart> =>
    client.call('nodeLog', { node: id, from, limit: isTail ? Math.min(tail, partMax) : partMax, isTail })
  for (let part = await ask(0, true); ; part = await ask(part.next, false)) {
    write(part.lines.map((text) => (json === true ? JSON.stringify({ node: id, text }) : clean(text))))
    if (follow !== true) return
    if (!part.hasMore) await delay(lookMs)
  }
}

async function showOutput(
  client: NodeClient,
  { pid, task }: Extract<LogTarget, { kind: 'output' }>,
  { tail, follow, timestamps, json }: LogsOptions,
): Promise<void> {
  const what = { ...(pid === undefined ? {} : { pid }), ...(task === undefined ? {} : { task }) }
  const from: Record<NodeId, number> = {}
  for (let isFirst = true; ; isFirst = false) {
    const limit = isFirst ? Math.min(tail, partMax) : partMax
    const answers = await client.call('output', { ...what, from, limit, isTail: isFirst })
    const isMany = answers.length > 1
    const lines = answers
      .flatMap(({ node, name, value }) => (value?.lines ?? []).map((line) => ({ ...line, node, nodeName: name })))
      .toSorted((a, b) => a.atMs - b.atMs)
    for (const { node, value } of answers) if (value !== undefined) from[node] = value.next
    const shown = isFirst ? lines.slice(-tail) : lines
    write(
      shown.map((line) =>
        json === true ? JSON.stringify(line) : formatLine(line, { isMany, withTime: timestamps === true }),
      ),
    )
    if (isFirst) {
      for (const { name, problem } of answers) {
        if (problem !== undefined) process.stderr.write(`${clean(name)} does not say: ${clean(problem)}\n`)
      }
      if (shown.length === 0 && follow !== true) process.stderr.write('Nothing has been printed by that.\n')
    }
    if (follow !== true) return
    if (!answers.some(({ value }) => value?.hasMore === true)) await delay(lookMs)
  }
}

/** As drivers see it. */
export function formatLine(
  { atMs, name, pid, nodeName, isError, text }: OutputLine & { nodeName: string },
  { isMany, withTime }: { isMany: boolean; withTime: boolean },
): string {
  const where = isMany ? ` on ${clean(nodeName)}` : ''
  const who = `(${name === '' ? '' : `${clean(name)} `}pid=${pid}${where})`
  const time = withTime ? `${new Date(atMs).toISOString()} ` : ''
  return `${time}${styled(isError ? 'yellow' : 'cyan', who)} ${clean(text)}`
}

function write(lines: readonly string[]): void {
  if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`)
}
