import { setTimeout as delay } from 'node:timers/promises'
import { Command } from 'commander'
import type { EventReport } from '../../protocols/admin.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { collectEvents, type Collected } from './collect.ts'
import { clean } from './format-text.ts'
import { parseCount } from './parse-options.ts'
import { styled } from './style.ts'
import { print, withNode } from './with-node.ts'

const help = `
Kinds: node, link, head, worker, program, object (lost, or made again), disk (spilling does not work), drain. Each node
remembers its last 5,000. Times are those of each node's own clock.

Examples:
  shoal events
  shoal events --follow
  shoal events --limit 1000 --json | jq '.events[] | select(.level == "error")'`

const lookMs = 500

interface EventsOptions {
  limit: number
  follow?: boolean
  json?: boolean
}

/** An event and whose it is. */
export type ListedEvent = EventReport & { readonly node: NodeId; readonly nodeName: string }

export function eventsCommand(): Command {
  return new Command('events')
    .summary('show what has happened in the mesh')
    .description(
      'Shows what has happened on all nodes, in the order of time: nodes and workers that came and went, heads, lost values.',
    )
    .option('-n, --limit <count>', 'the last so many', parseCount('--limit', 'a number of events', 1), 50)
    .option('-f, --follow', 'go on with what happens, until Ctrl-C')
    .option('--json', 'print JSON: one line, or with --follow one for each event')
    .addHelpText('after', help)
    .action(events)
}

async function events({ limit, follow, ...options }: EventsOptions): Promise<void> {
  // Ctrl-C is how following ends, so it is no failure.
  if (follow === true) process.once('SIGINT', () => process.exit(0))
  await withNode(async (client) => {
    let collected = await collectEvents(client)
    const { problems } = collected
    const last = mergeEvents(collected).slice(-limit)
    if (follow !== true) {
      print({ events: last, problems }, options, ({ events: all }) => formatEvents(all, problems))
      return
    }
    for (let fresh = last; ; fresh = mergeEvents(collected)) {
      const lines = options.json === true ? fresh.map((event) => JSON.stringify(event)) : fresh.map(formatEvent)
      if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`)
      await delay(lookMs)
      collected = await collectEvents(client, collected.from)
    }
  })
}

/** Those of all nodes, by time. */
export function mergeEvents({ byNode }: Pick<Collected<EventReport>, 'byNode'>): ListedEvent[] {
  return Array.from(byNode, ([node, { name, items }]) => items.map((event) => ({ ...event, node, nodeName: name })))
    .flat()
    .toSorted((a, b) => a.atMs - b.atMs)
}

/** For people to read. */
export function formatEvents(
  all: readonly ListedEvent[],
  problems: readonly { name: string; problem: string }[],
): string {
  const lines = all.map(formatEvent)
  if (lines.length === 0) lines.push('Nothing has happened.')
  for (const { name, problem } of problems)
    lines.push(styled('yellow', `${clean(name)} does not say: ${clean(problem)}`))
  return lines.join('\n')
}

const colours = { info: undefined, warning: 'yellow', error: 'red' } as const

function formatEvent({ atMs, nodeName, kind, level, text }: ListedEvent): string {
  const time = new Date(atMs).toISOString().replace('T', ' ').replace('Z', '')
  const colour = colours[level]
  const said = clean(text)
  return `${time}  ${clean(nodeName)}  ${kind.padEnd(7)}  ${colour === undefined ? said : styled(colour, said)}`
}
