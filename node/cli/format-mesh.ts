import type { ExplainedRequest, MeshInfo } from '../../protocols/admin.ts'
import { formatDuration } from './format-status.ts'
import { clean, plural } from './format-text.ts'
import { styled } from './style.ts'

const linesMax = 10

/** What a node's status page has about the mesh: who leads it, how large it is, what waits for a place in it and why. */
export function formatMesh(info: MeshInfo, waiting: readonly ExplainedRequest[]): string {
  const { meshName, role, head, headName, term, self, nodeCount, links } = info
  const termText = term === undefined ? '' : ` (term ${term})`
  const who = head === self ? 'this node' : clean(headName ?? head ?? '')
  const headText = head === undefined ? styled('yellow', 'none now') : `${who}${termText}`
  const kinds = [...Map.groupBy(waiting, ({ label, where }) => JSON.stringify([label, where])).values()]
  const lines = kinds.slice(0, linesMax).map((alike) => {
    const [first] = alike as [ExplainedRequest, ...ExplainedRequest[]]
    const longestMs = Math.max(...alike.map(({ waitingMs }) => waitingMs))
    const says = first.headSays === '' ? '' : `; ${clean(first.headSays)}`
    return `  ${String(alike.length).padStart(5)} x ${clean(first.label)} (${clean(first.asked)}), for ${formatDuration(longestMs)}: ${clean(first.where)}${says}`
  })
  if (kinds.length > linesMax) lines.push(`  ... and ${kinds.length - linesMax} more kinds`)
  return [
    `${styled('bold', `Mesh ${clean(meshName)}`)}, as ${role} ${self}`,
    `  head       ${headText}`,
    `  nodes      ${nodeCount}, ${plural(links.length, 'link')}`,
    ...(lines.length === 0 ? [] : ['  waiting    (see `shoal explain`)', ...lines]),
  ].join('\n')
}
