import type { ExplainedRequest, NodeVerdict } from '../../protocols/admin.ts'
import { formatDuration } from './format-status.ts'
import { clean, plural } from './format-text.ts'
import { styled, type Style } from './style.ts'
import { formatTable } from './table.ts'

const groupsMax = 20

const verdicts: Record<NodeVerdict['verdict'], { text: string; style: Style }> = {
  fits: { text: 'has room', style: 'green' },
  busy: { text: 'busy', style: 'yellow' },
  never: { text: 'never', style: 'red' },
  closed: { text: 'closed', style: 'red' },
}

/** Why requests wait, for people to read. Those that are alike are told once, with the one that waits for longest. */
export function formatExplained(requests: readonly ExplainedRequest[], task: string | undefined): string {
  if (requests.length === 0) {
    return task === undefined ? 'Nothing waits for a worker.' : `No task ${JSON.stringify(task)} waits for a worker.`
  }
  const groups = [...Map.groupBy(requests, likeness).values()]
  const shown = groups.slice(0, groupsMax).map(formatGroup)
  if (groups.length > groupsMax) shown.push(`... and ${groups.length - groupsMax} more kinds (see --json)`)
  return shown.join('\n\n')
}

function likeness({ label, asked, strategy, state, where, headSays }: ExplainedRequest): string {
  return JSON.stringify([label, asked, strategy, state, where, headSays])
}

function formatGroup(group: readonly ExplainedRequest[]): string {
  const longest = group.reduce((a, b) => (b.waitingMs > a.waitingMs ? b : a))
  const { label, asked, strategy, waitingMs, state, where, headSays, nodes } = longest
  const count = group.length === 1 ? '' : ` (${plural(group.length, 'request')})`
  const place = state === 'infeasible' ? styled('red', clean(where)) : clean(where)
  const lines = [
    `${styled('bold', clean(label))}${count}: ${clean(asked)}, ${clean(strategy)}, waits for ${formatDuration(waitingMs)}`,
    `  where      ${place}`,
    ...(headSays === '' ? [] : [`  head       ${clean(headSays)}`]),
  ]
  if (nodes.length === 0) return lines.join('\n')
  const rows = nodes.map(({ node, name, verdict, reason }) => {
    const { text, style } = verdicts[verdict]
    return [`  ${clean(name)}`, node, styled(style, text), clean(reason)]
  })
  return [...lines, formatTable(['  NAME', 'NODE', 'VERDICT', 'WHY'], rows)].join('\n')
}
