import type { ResourceSet } from '../../protocols/resources.ts'
import { acceleratorOf } from '../../protocols/accelerators.ts'
import { formatResources } from '../../protocols/resources.ts'
import type { ResourceLedger } from '../resources/ledger.ts'
import type { BundleRef, RefuseAction } from './lease-events.ts'

/** The owner knows the request by its number, and which of its tasks wait for it: so no message names a task. */
interface Asked {
  client: string
  requestId: number
  resources: ResourceSet
}

const flags: ReadonlyMap<string, string> = new Map([
  ['CPU', '--cpus'],
  ['GPU', '--gpus'],
  ['gpuMemory', '--gpu-memory'],
  ['memory', '--memory'],
])

/** The node could not meet the request even if it were empty. */
export function infeasibleRefusal(asked: Asked, ledger: ResourceLedger, missing: readonly string[]): RefuseAction {
  const lack = ledger.gpuLack(asked.resources)
  const wayOut = missing.map((name) => startOption(name, asked.resources[name] ?? 0)).join(' ')
  return refusal(
    asked,
    'infeasible',
    `asked for ${formatResources(asked.resources)}; this node has ${ledger.describeTotal()}` +
      `${lack?.name === 'gpuMemory' ? ` (${lack.why})` : ''}: lower the request, or start the node with \`${wayOut}\``,
    { total: ledger.total, missing },
  )
}

function startOption(name: string, amount: number): string {
  const type = acceleratorOf(name)
  if (type !== undefined) return `--gpu-type ${type}`
  const flag = flags.get(name)
  if (flag === undefined) return `--resources '${JSON.stringify({ [name]: amount })}'`
  // A request for half a device is met by one device.
  return `${flag} ${name === 'GPU' ? Math.ceil(amount) : amount}`
}

/** No bundle of the group could meet the request even if it were unused. */
export function bundleTooSmallRefusal(asked: Asked, { group, index }: BundleRef, bundle: ResourceSet): RefuseAction {
  const which = index === 'any' ? 'a bundle' : `bundle ${index}`
  return refusal(
    asked,
    'infeasible',
    `asked for ${formatResources(asked.resources)}; ${which} of placement group ${group} on this node has ` +
      `${formatResources(bundle)}: lower the request, or make the group with larger bundles`,
    { group, bundle, index },
  )
}

/** The bundle is not on this node now. */
export function noBundleRefusal(asked: Asked, { group, index }: BundleRef): RefuseAction {
  const which = index === 'any' ? 'no bundle' : `bundle ${index}`
  const text = index === 'any' ? 'is on this node' : 'is not on this node'
  return refusal(asked, 'busy', `${which} of placement group ${group} ${text}`, { group, index })
}

export function groupRemovedRefusal(asked: Asked, { group }: BundleRef, reason: string): RefuseAction {
  return refusal(asked, 'groupRemoved', `placement group ${group} is there no more: ${reason}`, { group, reason })
}

/**
 * Every worker that the node may have waits in `get()` or is with an actor, so that none is left to run what they wait for.
 *
 * @param actors workers that are with actors, and do not wait
 */
export function workerLimitRefusal(asked: Asked, blocked: number, actors: number, workersMax: number): RefuseAction {
  const withActors = actors === 0 ? '' : ` and ${actors} ${actors === 1 ? 'is with an actor' : 'are with actors'}`
  return refusal(
    asked,
    'workerLimit',
    `no worker is left: ${blocked} of ${workersMax} workers wait in get()${withActors}; ` +
      `recurse less deeply, or start the node with \`--workers-max ${workersMax * 2}\``,
    { blocked, actors, workersMax },
  )
}

/** More requests wait than the node keeps. */
export function tooManyRequestsRefusal(asked: Asked, waitingMax: number): RefuseAction {
  return refusal(
    asked,
    'workerLimit',
    `${waitingMax} requests wait for workers of this node already; ask again when some have been answered`,
    { waitingMax },
  )
}

/** What it asks for is not free now, and it is not to wait here. */
export function busyRefusal(asked: Asked): RefuseAction {
  return refusal(asked, 'busy', 'its resources are not free on this node now', {})
}

/** The node takes no new work: another one may. */
export function closedRefusal(asked: Asked): RefuseAction {
  return refusal(asked, 'busy', 'this node is being taken out of service (`shoal drain`) and takes no new work', {})
}

export function workerStartRefusal(asked: Asked, reason: string, failures: number): RefuseAction {
  return refusal(
    asked,
    'workerStart',
    `no worker could be started (${failures} ${failures === 1 ? 'try' : 'tries'} in a row failed): ${reason}`,
    { reason, failures },
  )
}

/** The client at the root of the work has gone, so that nobody is left who could want its results. */
export function jobGoneRefusal(asked: Asked): RefuseAction {
  return refusal(asked, 'workerLimit', 'the program for which it was to run has ended', {})
}

function refusal(
  asked: Asked,
  error: RefuseAction['error'],
  message: string,
  details: Record<string, unknown>,
): RefuseAction {
  const { client, requestId, resources } = asked
  return { type: 'refuse', client, requestId, error, message, details: { asked: resources, ...details } }
}
