import { clipList } from '../../protocols/clip.ts'

/** Why something cannot travel, and the way out. Thrown while a function is captured. */
export class Refusal extends Error {
  readonly reason: string
  readonly fix: string
  /** Where in the user's files, when it is not where the value was reached. */
  readonly at: string | undefined
  /** How the capture came to it, when that is further than where it stood. */
  trail: Trail | undefined

  constructor(reason: string, fix: string, at?: string) {
    super(reason)
    this.reason = reason
    this.fix = fix
    this.at = at
  }

  along(trail: Trail): this {
    this.trail ??= trail
    return this
  }
}

/** How the capture came to where it is. */
export interface Trail {
  parent: Trail | undefined
  /** Such as `function f`, `cfg`, `.list` or `[0]`. */
  label: string
  /** Where that is declared, when it is. */
  at: string | undefined
}

export function step(parent: Trail | undefined, label: string, at?: string): Trail {
  return { parent, label, at }
}

/** Such as `function f -> cfg -> .list[0]`. Of a long one the two ends. */
function showTrail(trail: Trail): string {
  const labels: string[] = []
  for (let at: Trail | undefined = trail; at !== undefined; at = at.parent)
    if (at.label !== '') labels.unshift(at.label)
  return clipList(labels).reduce((text, label) => (label.startsWith('[') ? text + label : `${text} -> ${label}`))
}

function trailPosition(trail: Trail): string | undefined {
  for (let at: Trail | undefined = trail; at !== undefined; at = at.parent) if (at.at !== undefined) return at.at
  return undefined
}

/** The message that the user gets. */
export function explainRefusal(name: string, at: string | undefined, refusal: Refusal, reached: Trail): string {
  const trail = refusal.trail ?? reached
  const { reason, fix } = refusal
  const where = refusal.at ?? trailPosition(trail)
  const head = `cannot ship \`${name}\`${at === undefined ? '' : ` (${at})`} to a worker: ${reason}`
  const through = trail.parent === undefined ? '' : `\n  reached through: ${showTrail(trail)}`
  return `${head}${where === undefined ? '' : ` (${where})`}${through}\n  fix: ${fix}`
}
