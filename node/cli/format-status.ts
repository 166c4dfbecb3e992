import { amountOf, formatAmount, formatResources } from '../../protocols/resources.ts'
import type { NodeStatus } from '../status.ts'
import { formatGpu } from './format-gpu.ts'
import { clean, plural } from './format-text.ts'
import { styled } from './style.ts'

const barWidth = 24
const rowsMax = 40
const wellKnown = ['CPU', 'GPU', 'memory']

function spilledLines({ bytes, files, directory, problem }: NodeStatus['store']['spilled']): string[] {
  const indent = ''.padEnd(12)
  return [
    ...(bytes === 0
      ? []
      : [`${indent} ${formatAmount('memory', bytes)} on the disk, in ${plural(files, 'file')} in ${directory}`]),
    ...(directory === '' || problem === ''
      ? []
      : [`${indent} ${styled('yellow', `nothing more goes to the disk: ${clean(problem)}`)}`]),
  ]
}

/** What is used of all the memory, by whomever, and that workers were ended for it. */
function machineMemoryLines({ memory }: NodeStatus): string[] {
  if (memory === undefined) return []
  const { usedBytes, totalBytes, limitBytes, workersEnded } = memory
  const text = `machine: ${formatAmount('memory', usedBytes)} of ${formatAmount('memory', totalBytes)} of memory in use`
  const ended = `${plural(workersEnded, 'worker')} ended at the limit of ${formatAmount('memory', limitBytes)}`
  return [`${''.padEnd(12)} ${text}${workersEnded === 0 ? '' : `; ${styled('yellow', ended)}`}`]
}

/** What the store and the transfers have done since the start; nothing of what they have not. */
function countedLines({ store: { counters }, traffic }: NodeStatus): string[] {
  const bytes = (count: number, what: string): string[] =>
    count === 0 ? [] : [`${formatAmount('memory', count)} ${what}`]
  const counts = [
    ...bytes(counters.spilledBytes, 'spilled'),
    ...bytes(counters.restoredBytes, 'restored'),
    ...bytes(traffic?.transfers.bytesIn ?? 0, 'brought here'),
    ...bytes(traffic?.transfers.bytesInNear ?? 0, 'of that from memory of this machine'),
    ...bytes(traffic?.transfers.bytesOut ?? 0, 'sent'),
  ]
  const lines = counts.length === 0 ? [] : [`since the start ${counts.join(', ')}`]
  if (traffic !== undefined && traffic.transfers.pullsDone > 0) {
    const { pullsDone, hintHits, pullsFailed, locates } = traffic.transfers
    const failed = pullsFailed === 0 ? '' : `, ${pullsFailed} not`
    lines.push(
      `${plural(pullsDone, 'value')} came${failed}; ${hintHits} without a question to the DHT, ${locates} asked`,
    )
  }
  for (const { name, bytes: all, bytesHere, sources } of (traffic?.transfers.pulling ?? []).slice(0, 5)) {
    const amount = `${formatAmount('memory', bytesHere)} of ${formatAmount('memory', all)}`
    lines.push(`${clean(name)} is on its way: ${amount}, from ${plural(sources, 'node')}`)
  }
  return lines.map((line) => `${''.padEnd(12)} ${line}`)
}

/** The status of a node for people to read. */
export function formatStatus(status: NodeStatus): string {
  const { node, store, clients } = status
  const programs = clients.filter((client) => client.role === 'driver')
  return [
    `${styled('bold', `Node on ${node.hostname}`)} (pid ${node.pid}, shoal ${node.version}), up ${formatDuration(node.uptimeMs)}`,
    `  ${node.cpuModel}, load ${node.loadAverage.toFixed(1)}, socket ${node.socketPath}`,
    '',
    styled('bold', 'Resources'),
    ...resourceLines(status),
    `  ${'store'.padEnd(10)} ${bar(store.usedBytes, store.bytesMax)} ${formatAmount('memory', store.usedBytes)} of ${formatAmount('memory', store.bytesMax)}, ${plural(store.objects, 'value')}`,
    ...machineMemoryLines(status),
    ...spilledLines(store.spilled),
    ...countedLines(status),
    '',
    `${styled('bold', 'Workers')} (${countStates(status.workers.map((worker) => worker.state))})`,
    ...rows(status.workers.map(workerLine)),
    '',
    `${styled('bold', 'Waiting')} (${plural(
      status.pending.reduce((sum, each) => sum + each.count, 0),
      'request',
    )})`,
    ...rows(status.pending.map(pendingLine)),
    '',
    `${styled('bold', 'Programs')} (${programs.length})`,
    ...rows(
      programs.map(
        ({ pid, program, tasks }) =>
          `pid ${String(pid).padEnd(8)} ${plural(tasks.running, 'task')} running, ${tasks.queued} queued  ${clean(program)}`,
      ),
    ),
  ].join('\n')
}

function resourceLines({ resources: { total, available, gpus } }: NodeStatus): string[] {
  const ownNames = Object.keys(total).filter((name) => !wellKnown.includes(name))
  const names = [...wellKnown.filter((name) => Object.hasOwn(total, name)), ...ownNames.toSorted()]
  const lines = names.map((name) => {
    const amount = total[name] ?? 0
    const used = amount - amountOf(available, name)
    return `  ${name.padEnd(10)} ${bar(used, amount)} ${formatAmount(name, used)} of ${formatAmount(name, amount)} in use`
  })
  for (const { index, free, ...gpu } of gpus) {
    const text = formatGpu({ ...gpu, ...(free === 1 ? {} : { free }) })
    if (text !== '') lines.push(`  ${''.padEnd(10)} GPU ${index}: ${text}`)
  }
  return lines
}

function bar(used: number, total: number): string {
  const share = total > 0 ? Math.min(Math.max(used / total, 0), 1) : 0
  const full = Math.round(share * barWidth)
  const colour = share > 0.9 ? 'red' : share > 0.6 ? 'yellow' : 'green'
  return `[${styled(colour, '#'.repeat(full))}${'.'.repeat(barWidth - full)}]`
}

function workerLine({ workerId, pid, state, label, forMs, gpuIds }: NodeStatus['workers'][number]): string {
  const gpus = gpuIds.length === 0 ? '' : `  GPU ${gpuIds.join(',')}`
  const what = label === undefined ? '' : `  ${clean(label)}`
  const shown = { leased: 'running', blocked: 'in get()' }[state as string] ?? state
  return `#${String(workerId).padEnd(5)} pid ${String(pid).padEnd(8)} ${shown.padEnd(9)} ${formatDuration(forMs).padStart(8)}${gpus}${what}`
}

function pendingLine({ label, resources, count, forMs, reason }: NodeStatus['pending'][number]): string {
  return `${String(count).padStart(5)} x ${clean(label)} (${formatResources(resources)}), for ${formatDuration(forMs)}: ${clean(reason)}`
}

function rows(lines: string[]): string[] {
  const shown = lines.slice(0, rowsMax).map((line) => `  ${line}`)
  return lines.length > rowsMax ? [...shown, `  ... and ${lines.length - rowsMax} more (see --json)`] : shown
}

function countStates(states: string[]): string {
  const counts = new Map<string, number>()
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1)
  return states.length === 0 ? 'none' : [...counts].map(([state, count]) => `${count} ${state}`).join(', ')
}

const durations = [
  { unit: 'd', ms: 86_400_000 },
  { unit: 'h', ms: 3_600_000 },
  { unit: 'm', ms: 60_000 },
  { unit: 's', ms: 1000 },
] as const

/** The two largest units that matter. @example formatDuration(61_000) // '1m 1s' */
export function formatDuration(ms: number): string {
  const at = durations.findIndex((each) => ms >= each.ms)
  const large = durations[at]
  if (large === undefined) return `${Math.round(ms)}ms`
  const whole = `${Math.floor(ms / large.ms)}${large.unit}`
  const small = durations[at + 1]
  const rest = small === undefined ? 0 : Math.floor((ms % large.ms) / small.ms)
  return small === undefined || rest === 0 ? whole : `${whole} ${rest}${small.unit}`
}
