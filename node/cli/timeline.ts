import { writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { Command } from 'commander'
import { collectEvents, collectRuns } from './collect.ts'
import { clean, plural } from './format-text.ts'
import { parseDuration } from './parse-options.ts'
import { runningNow, traceOf, type NodeRecords } from './trace.ts'
import { UsageError } from './usage-error.ts'
import { print, withNode } from './with-node.ts'

const help = `
The file opens at https://ui.perfetto.dev and in chrome://tracing: a process for each node, a thread for each worker, a slice
for each task with its owner, attempt and status; those that still run end where the trace does. Very many short tasks of one name are one slice. Nodes remember their last
10,000 tasks. Times are those of each node's own clock.

Examples:
  shoal timeline --output trace.json
  shoal timeline --since 10m --output trace.json
  shoal timeline --duration 30s     what happens from now on, until then or Ctrl-C`

interface TimelineOptions {
  output: string
  since?: number
  duration?: number
  json?: boolean
}

interface Written {
  readonly file: string
  readonly nodes: number
  readonly tasks: number
  readonly events: number
  readonly problems: readonly { readonly name: string; readonly problem: string }[]
}

export function timelineCommand(): Command {
  return new Command('timeline')
    .summary('write what has run where as a trace')
    .description('Writes what has run on which worker, and what has happened to the nodes, as a trace of Chrome.')
    .option('-o, --output <file>', 'where to', 'shoal-trace.json')
    .option('--since <time>', 'only what has ended since then, such as 10m', parseDuration('--since'))
    .option('--duration <time>', 'what happens from now on, for so long', parseDuration('--duration'))
    .option('--json', 'print JSON about the file, one line')
    .addHelpText('after', help)
    .action(timeline)
}

async function timeline({ output, since, duration, ...options }: TimelineOptions): Promise<void> {
  if (since !== undefined && duration !== undefined) {
    throw new UsageError('--since looks back and --duration ahead: give one of them')
  }
  const nowMs = Date.now()
  const written = await withNode(async (client) => {
    if (duration !== undefined) await pause(duration)
    const sinceMs = duration === undefined ? nowMs - (since ?? Infinity) : nowMs
    const runs = await collectRuns(client)
    const events = await collectEvents(client)
    const running = runningNow(await client.call('tasks', { limit: 1 }), Date.now())
    const nodes = [...runs.byNode, ...events.byNode].map(([node, { name }]): [string, string] => [node, name])
    const records = Array.from(new Map(nodes), ([node, name]): NodeRecords => ({
      node,
      name: clean(name),
      runs: [
        ...(runs.byNode.get(node)?.items.filter(({ endMs }) => endMs >= sinceMs) ?? []),
        ...(running.get(node) ?? []),
      ],
      events: events.byNode.get(node)?.items.filter(({ atMs }) => atMs >= sinceMs) ?? [],
    }))
    writeFileSync(output, JSON.stringify(traceOf(records)))
    return summary(output, records, [...runs.problems, ...events.problems])
  })
  print(written, options, format)
}

function summary(file: string, records: readonly NodeRecords[], problems: Written['problems']): Written {
  let tasks = 0
  let events = 0
  for (const record of records) {
    for (const { count } of record.runs) tasks += count
    events += record.events.length
  }
  const byName = new Map(problems.map((each) => [each.name, each]))
  return { file, nodes: records.length, tasks, events, problems: [...byName.values()] }
}

function format({ file, nodes, tasks, events, problems }: Written): string {
  return [
    `${file}: ${plural(tasks, 'task')} and ${plural(events, 'event')} of ${plural(nodes, 'node')}; open it at https://ui.perfetto.dev`,
    ...problems.map(({ name, problem }) => `${clean(name)} is not in it: ${clean(problem)}`),
  ].join('\n')
}

/** Ctrl-C ends it early. */
async function pause(ms: number): Promise<void> {
  const enough = new AbortController()
  process.once('SIGINT', () => enough.abort())
  await delay(ms, undefined, { signal: enough.signal }).catch(() => undefined)
}
