import type { NodeReport } from '../../protocols/admin.ts'
import { amountOf, formatAmount } from '../../protocols/resources.ts'
import { formatGpu } from './format-gpu.ts'
import { formatDuration } from './format-status.ts'
import { clean, plural } from './format-text.ts'
import { styled } from './style.ts'
import { formatTable } from './table.ts'

const wellKnown = ['CPU', 'GPU', 'memory']
const shortAddress = /^\/ip[46]\/([^/]+)\/tcp\/(\d+)/

/** The nodes of a mesh for people to read. */
export function formatNodes(nodes: readonly NodeReport[], { isLong }: { isLong: boolean }): string {
  const rows = nodes.map((node) => [
    styled(node.isHead ? 'bold' : 'reset', clean(node.name)),
    node.id,
    node.role,
    formatState(node),
    ...wellKnown.map((name) => free(node, name)),
    others(node),
    node.load.toFixed(2),
    formatDuration(node.upMs),
    formatAddress(node.addresses),
  ])
  const heading = [
    'NAME',
    'NODE',
    'ROLE',
    'STATE',
    'CPU FREE',
    'GPU FREE',
    'MEMORY FREE',
    'OTHERS FREE',
    'LOAD',
    'UP',
    'ADDRESS',
  ]
  const othersAt = heading.indexOf('OTHERS FREE')
  const hasOthers = rows.some((row) => row[othersAt] !== '')
  const shown = hasOthers ? [heading, ...rows] : [heading, ...rows].map((row) => row.toSpliced(othersAt, 1))
  const [first = [], ...rest] = shown
  return [formatTable(first, rest), '', summary(nodes), ...(isLong ? nodes.flatMap(details) : [])].join('\n')
}

function formatState({ isSelf, isHead, term, linked, state, isOpen, roundTripMs }: NodeReport): string {
  const link = isSelf
    ? 'this node'
    : linked
      ? 'linked'
      : state === 'suspected'
        ? styled('yellow', 'silent')
        : 'unlinked'
  const trip = roundTripMs === undefined ? '' : ` ${roundTripMs.toFixed(1)}ms`
  const head = isHead ? `, ${styled('green', term === undefined ? 'head' : `head (term ${term})`)}` : ''
  return `${link}${trip}${head}${isOpen ? '' : ', takes no work'}`
}

/** So much is free of so much. @example '2.5/4', '1.5/8 GiB' */
function free({ resources: { total, available } }: NodeReport, name: string): string {
  const all = Object.hasOwn(total, name) ? total[name] : undefined
  if (all === undefined) return '-'
  // It can be less than nothing for a moment, which tells nobody anything.
  const rest = formatAmount(name, Math.max(0, amountOf(available, name)))
  const whole = formatAmount(name, all)
  const unit = / \w+$/.exec(whole)?.[0] ?? ''
  return unit !== '' && rest.endsWith(unit) ? `${rest.slice(0, -unit.length)}/${whole}` : `${rest}/${whole}`
}

function others(node: NodeReport): string {
  const names = Object.keys(node.resources.total).filter((name) => !wellKnown.includes(name))
  return names
    .toSorted()
    .map((name) => `${clean(name)} ${free(node, name)}`)
    .join(' ')
}

function formatAddress([first, ...more]: readonly string[]): string {
  if (first === undefined) return '-'
  const [, host, port] = shortAddress.exec(first) ?? []
  const short = host === undefined ? clean(first) : host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  return more.length === 0 ? short : `${short} +${more.length}`
}

function summary(nodes: readonly NodeReport[]): string {
  const head = nodes.find((node) => node.isHead)
  const term = head?.term === undefined ? '' : ` (term ${head.term})`
  const sum = (of: (node: NodeReport) => number | undefined): string =>
    formatAmount(
      'CPU',
      nodes.reduce((total, node) => total + Math.max(0, of(node) ?? 0), 0),
    )
  const headText = head === undefined ? styled('yellow', 'no head now') : `head ${clean(head.name)}${term}`
  const cpus = `CPU ${sum((node) => node.resources.available['CPU'])} of ${sum((node) => node.resources.total['CPU'])} free`
  return `${plural(nodes.length, 'node')}, ${headText}, ${cpus}`
}

function details(node: NodeReport): string[] {
  const gpus = node.gpus.map((gpu) => formatGpu(gpu) || 'unknown')
  const labels = Object.entries(node.labels).map(([name, value]) => `${clean(name)}=${clean(value)}`)
  return [
    '',
    `${styled('bold', clean(node.name))} (${node.id}), shoal ${clean(node.version)}`,
    `  addresses  ${node.addresses.map(clean).join(' ') || 'none'}`,
    `  work       ${plural(node.workers, 'worker')}, ${plural(node.leases, 'lease')}, ${node.queued} waiting`,
    `  store      ${formatAmount('memory', node.store.usedBytes)} of ${formatAmount('memory', node.store.bytesMax)}`,
    ...(gpus.length === 0 ? [] : [`  GPUs       ${gpus.join('; ')}`]),
    ...(labels.length === 0 ? [] : [`  labels     ${labels.join(' ')}`]),
  ]
}
