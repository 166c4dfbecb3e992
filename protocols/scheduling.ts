import { InvalidArgumentError, ProtocolError } from './errors.ts'
import { isObjectId, nodeIdBytes, type NodeId, type ObjectId } from './ids.ts'
import { json, type Codec } from './schema.ts'

/** Free names for what a node is or where it stands: `{ zone: 'lab1', gpu: 'a100' }`. */
export type Labels = Readonly<Record<string, string>>

/** What a label must be: one of some values, none of some, there at all or not. */
export type LabelMatch =
  | { readonly in: readonly string[] }
  | { readonly notIn: readonly string[] }
  | { readonly exists: boolean }

/** Every named label must match. A node without a label matches `notIn` and `{ exists: false }`. */
export type LabelSelector = Readonly<Record<string, LabelMatch>>

/** Where a task may run, after the user's options were checked. */
export type SchedulingStrategy = SchedulingKind & {
  /** Nodes that are not to be taken as long as there is another one that could ever serve it: they had no memory for it. */
  readonly avoid?: readonly NodeId[]
}

export type SchedulingKind =
  /** Fill this node to the half, then the best of the others. */
  | { readonly kind: 'default' }
  /** Evenly over all nodes. */
  | { readonly kind: 'spread' }
  /** On one node; if soft, elsewhere when that one is gone or cannot ever run it. */
  | { readonly kind: 'node'; readonly node: NodeId; readonly isSoft: boolean }
  /** On nodes with such labels. */
  | { readonly kind: 'labels'; readonly selector: LabelSelector }
  /** In a bundle of a placement group: the one with this number, or any that has room. */
  | { readonly kind: 'group'; readonly group: ObjectId; readonly bundle: number | 'any' }

export const defaultStrategy: SchedulingStrategy = Object.freeze({ kind: 'default' })

export const labelsMax = 64
const labelValuesMax = 64
/** What a selector takes in a message, which has room for other things. */
const selectorBytesMax = 8 * 1024
/** Nodes that a task avoids: the last ones. */
export const avoidMax = 8
const namePattern = /^[A-Za-z][\w./-]{0,62}$/
const valuePattern = /^[\w./:-]{0,63}$/
const nodePattern = new RegExp(`^[0-9a-f]{${nodeIdBytes * 2}}$`)

export function isNodeId(text: string): text is NodeId {
  return nodePattern.test(text)
}

/** Checks labels that a user gives to a node. Throws InvalidArgumentError that names the label. */
export function checkLabels(input: unknown, what = 'labels'): Labels {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new InvalidArgumentError(`${what}: expected an object of names and values, such as { zone: 'lab1' }`, {
      input,
    })
  }
  const entries = Object.entries(input)
  assertCount(entries.length, labelsMax, what)
  for (const [name, value] of entries) {
    checkLabelName(name, what)
    checkLabelValue(value, `${what}.${name}`)
  }
  return { ...(input as Record<string, string>) }
}

/**
 * Checks a selector as users write it, where a plain text stands for `{ in: [text] }`. Throws InvalidArgumentError that
 * names the label.
 *
 * @example
 * checkLabelSelector({ zone: 'lab1', gpu: { in: ['a100', 'h100'] }, laptop: { exists: false } })
 */
export function checkLabelSelector(input: unknown, what = 'labels'): LabelSelector {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new InvalidArgumentError(`${what}: expected an object of labels, such as { zone: 'lab1' }`, { input })
  }
  const entries = Object.entries(input)
  assertCount(entries.length, labelsMax, what)
  const selector = Object.fromEntries(
    entries.map(([name, match]: [string, unknown]) => {
      checkLabelName(name, what)
      return [name, checkMatch(match, `${what}.${name}`)]
    }),
  )
  const bytes = JSON.stringify(selector).length
  if (bytes <= selectorBytesMax) return selector
  throw new InvalidArgumentError(
    `${what} takes ${bytes} bytes to describe; at most ${selectorBytesMax} are possible: give the nodes that are meant a label of their own`,
    { bytes, selectorBytesMax },
  )
}

function checkMatch(match: unknown, what: string): LabelMatch {
  if (typeof match === 'string') {
    checkLabelValue(match, what)
    return { in: [match] }
  }
  const [only, ...more] = Object.entries(typeof match === 'object' && match !== null ? match : {})
  if (only !== undefined && more.length === 0) {
    const [kind, value] = only as [string, unknown]
    if (kind === 'exists' && typeof value === 'boolean') return { exists: value }
    if ((kind === 'in' || kind === 'notIn') && Array.isArray(value) && value.length > 0) {
      assertCount(value.length, labelValuesMax, `${what}.${kind}`)
      for (const each of value) checkLabelValue(each, `${what}.${kind}`)
      return kind === 'in' ? { in: [...(value as string[])] } : { notIn: [...(value as string[])] }
    }
  }
  throw new InvalidArgumentError(
    `${what} must be a text, { in: [...] }, { notIn: [...] } or { exists: true }; got ${JSON.stringify(match)}`,
    { match },
  )
}

/** True when a node with these labels is one that the selector means. */
export function matchesLabels(labels: Labels, selector: LabelSelector): boolean {
  return Object.entries(selector).every(([name, match]) => {
    const value = Object.hasOwn(labels, name) ? labels[name] : undefined
    if ('in' in match) return value !== undefined && match.in.includes(value)
    if ('notIn' in match) return value === undefined || !match.notIn.includes(value)
    return match.exists === (value !== undefined)
  })
}

/** On the wire a strategy is JSON: it goes with requests for workers, which are few. */
export const schedulingStrategy: Codec<SchedulingStrategy> = {
  write: (writer, strategy) => json.write(writer, strategy),
  read(reader) {
    const strategy = (json.read(reader) ?? {}) as Record<string, unknown>
    const { avoid } = strategy
    const kind = readKind(strategy)
    if (avoid === undefined) return kind
    const isList = Array.isArray(avoid) && avoid.length <= avoidMax
    if (!isList || !avoid.every((node) => typeof node === 'string' && isNodeId(node))) {
      throw new ProtocolError(`a scheduling strategy does not avoid at most ${avoidMax} nodes`)
    }
    return { ...kind, avoid }
  },
}

function readKind({ kind, node, isSoft, selector, group, bundle }: Record<string, unknown>): SchedulingKind {
  if (kind === 'default' || kind === 'spread') return { kind }
  if (kind === 'node' && typeof node === 'string' && isNodeId(node)) return { kind, node, isSoft: isSoft === true }
  if (kind === 'group' && typeof group === 'string' && isObjectId(group)) {
    if (bundle === 'any' || (Number.isInteger(bundle) && (bundle as number) >= 0)) {
      return { kind, group, bundle: bundle as number | 'any' }
    }
  }
  try {
    if (kind === 'labels') return { kind, selector: checkLabelSelector(selector) }
  } catch (error) {
    throw new ProtocolError((error as Error).message)
  }
  throw new ProtocolError('a scheduling strategy is none of default, spread, node, labels, group')
}

/** One text for one strategy: tasks with the same one can use each other's leases. */
export function strategyKey({ avoid = [], ...kind }: SchedulingStrategy): string {
  return avoid.length === 0 ? kindKey(kind) : `${kindKey(kind)}:not:${avoid.toSorted().join()}`
}

function kindKey(strategy: SchedulingKind): string {
  switch (strategy.kind) {
    case 'default':
      return ''
    case 'spread':
      return 'spread'
    case 'node':
      return `node:${strategy.node}${strategy.isSoft ? ':soft' : ''}`
    case 'labels':
      return `labels:${JSON.stringify(Object.entries(strategy.selector).toSorted(([a], [b]) => (a < b ? -1 : 1)))}`
    case 'group':
      return `group:${strategy.group}:${strategy.bundle}`
  }
}

/** The strategy for a person to read: "on nodes with zone=lab1". */
export function formatStrategy({ avoid = [], ...kind }: SchedulingStrategy): string {
  return avoid.length === 0 ? formatKind(kind) : `${formatKind(kind)}, but rather not on ${avoid.join(', ')}`
}

function formatKind(strategy: SchedulingKind): string {
  switch (strategy.kind) {
    case 'default':
      return 'on any node'
    case 'spread':
      return 'spread over the nodes'
    case 'node':
      return `${strategy.isSoft ? 'rather ' : ''}on node ${strategy.node}`
    case 'labels':
      return `on nodes with ${Object.entries(strategy.selector).map(formatMatch).join(' and ')}`
    case 'group':
      return `in ${strategy.bundle === 'any' ? 'any bundle' : `bundle ${strategy.bundle}`} of placement group ${strategy.group}`
  }
}

function formatMatch([name, match]: [string, LabelMatch]): string {
  if ('in' in match) return match.in.length === 1 ? `${name}=${match.in[0]}` : `${name} in (${match.in.join(', ')})`
  if ('notIn' in match) return `${name} not in (${match.notIn.join(', ')})`
  return match.exists ? `a label ${name}` : `no label ${name}`
}

function assertCount(count: number, countMax: number, what: string): void {
  if (count <= countMax) return
  throw new InvalidArgumentError(`${what} has ${count} entries; at most ${countMax} are possible`, { count, countMax })
}

function checkLabelName(name: string, what: string): void {
  if (namePattern.test(name)) return
  throw new InvalidArgumentError(
    `${what}: '${name}' is not a name of a label; use a letter, then at most 62 letters, digits or _ . / -`,
    { name },
  )
}

function checkLabelValue(value: unknown, what: string): void {
  if (typeof value === 'string' && valuePattern.test(value)) return
  throw new InvalidArgumentError(
    `${what} is ${JSON.stringify(value)}; expected a text of at most 63 letters, digits or _ . / : -`,
    { value },
  )
}
