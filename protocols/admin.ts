import type { GpuAdvert } from './advert.ts'
import {
  InvalidArgumentError,
  MembershipError,
  NotSupportedError,
  ProtocolError,
  ShoalError,
  UnreachableError,
} from './errors.ts'
import type { NodeId } from './ids.ts'
import type { MemberRole } from './membership.ts'
import type { GroupReport } from './placement-groups.ts'
import type { ResourceSet } from './resources.ts'
import type { Labels } from './scheduling.ts'

/**
 * What the command line and programs ask their node about the mesh, and what they have it do: each call is one `adminCall`
 * message and is answered by one `adminReply`.
 *
 * A node that was started without a mesh answers each of them with a MembershipError.
 */
export interface AdminCalls {
  /** All nodes of the mesh that are not gone, the own one first. */
  nodes: { args: NoArgs; value: NodeReport[] }
  meshInfo: { args: NoArgs; value: MeshInfo }
  /** The text of a token is told this once. */
  tokenCreate: { args: TokenCreateArgs; value: CreatedToken }
  tokenList: { args: NoArgs; value: TokenReport[] }
  tokenRevoke: { args: { readonly id: string }; value: { readonly id: string } }
  memberList: { args: NoArgs; value: MemberReport[] }
  memberRevoke: { args: { readonly node: NodeId; readonly reason?: string }; value: { readonly node: NodeId } }
  /** Ends the membership; the node stops after its answer. With `force` even if it is the last that can admit others. */
  leave: { args: { readonly force: boolean }; value: { readonly meshName: string } }
  /** Why requests wait: those with this label, or all of them for an empty text. The longest waiting first, 100 at most. */
  explain: { args: { readonly task: string }; value: ExplainedRequest[] }
  doctor: { args: NoArgs; value: DoctorReport }
  /** The values in the store of the asked node, the largest first; `more` are left out. */
  objects: { args: NoArgs; value: { readonly objects: ObjectReport[]; readonly more: number } }
  /** Who holds the values in the store of the asked node, and why; the largest first, and `more` are left out. */
  memory: { args: NoArgs; value: MemoryReport }
  /** The placement groups of the mesh, the oldest first; `more` are left out. Nodes that do not answer in time are too. */
  placementGroups: { args: NoArgs; value: { readonly groups: readonly GroupReport[]; readonly more: number } }
  /** Which nodes hold an object, by its id: the DHT is asked. */
  objectLocate: { args: { readonly id: string }; value: LocatedObject }
  /** Of each node: the actors that its programs own, and the detached ones that it leads. */
  actors: { args: NoArgs; value: NodeAnswer<NodeActors>[] }
  /** Of each node: the tasks of its programs that have not ended, and the last `limit` that ended there. */
  tasks: { args: { readonly limit: number }; value: NodeAnswer<NodeTasks>[] }
  /** Of each node: ended tasks, from the number on that its last answer has given. */
  taskRuns: { args: FromArgs; value: NodeAnswer<TaskRunsPart>[] }
  /** Of each node: what has happened there, from the number on that its last answer has given. */
  events: { args: FromArgs; value: NodeAnswer<EventsPart>[] }
  /** Of each node: what its workers have printed, from the number on that its last answer has given, or the last lines. */
  output: { args: OutputArgs; value: NodeAnswer<OutputPart>[] }
  /** Lines of the log of one node, likewise. */
  nodeLog: { args: NodeLogArgs; value: NodeLogPart }
  /** Takes a node out of service, or puts it back. Others than the own one only for admins. */
  drain: { args: DrainArgs; value: DrainReport }
  drainStatus: { args: { readonly node: NodeId }; value: DrainReport }
}

/** Calls about one node: the asked one passes them on to it. */
export const nodeCalls = ['drain', 'drainStatus', 'nodeLog'] as const satisfies readonly AdminCallName[]
export type NodeCallName = (typeof nodeCalls)[number]

/** True for a call that is answered by the node that it names. */
export function isNodeCall(name: string): name is NodeCallName {
  return nodeCalls.some((each) => each === name)
}

/** Calls that the asked node passes on to all nodes that it has a link to. */
export const surveyCalls = [
  'actors',
  'tasks',
  'taskRuns',
  'events',
  'output',
] as const satisfies readonly AdminCallName[]
export type SurveyCallName = (typeof surveyCalls)[number]
/** What one node answers to such a call. */
export type SurveyValue<N extends SurveyCallName> = AdminCalls[N]['value'] extends NodeAnswer<infer T>[] ? T : never

/** True for a call that is answered by every node. */
export function isSurveyCall(name: string): name is SurveyCallName {
  return surveyCalls.some((each) => each === name)
}

/** The answer of one node of several. */
export interface NodeAnswer<T> {
  readonly node: NodeId
  readonly name: string
  readonly value?: T
  /** Why there is none. */
  readonly problem?: string
}

/** Goes on where the last answers ended. */
export interface FromArgs {
  /** By node; those that are not named begin with the oldest. */
  readonly from: Readonly<Record<NodeId, number>>
  /** Of each node. */
  readonly limit: number
}

export interface NodeActors {
  readonly actors: readonly ActorReport[]
  /** Besides those. */
  readonly more: number
  /** Programs that did not answer in time: their actors are not known. */
  readonly silent: readonly ProcessReport[]
}

/** An actor that is not dead. */
export interface ActorReport {
  readonly id: string
  readonly className: string
  /** Where its name is known, and the name; absent for one without. */
  readonly namespace?: string
  readonly actorName?: string
  readonly state: 'pending' | 'alive' | 'restarting'
  readonly restarts: number
  readonly isDetached: boolean
  /** Where it is; absent while it is nowhere. */
  readonly node?: NodeId
  readonly pid?: number
  /** The process that owns it; absent for a detached one. */
  readonly owner?: ProcessReport
}

export interface NodeTasks {
  readonly live: readonly LiveTaskReport[]
  /** Tasks that have not ended, besides those. */
  readonly more: number
  /** The oldest first. */
  readonly ended: readonly TaskReport[]
  /** Ended tasks since the start of the node that it has not recorded, because there were too many at a time. */
  readonly left: number
  /** Programs that are attached to the node. */
  readonly drivers: readonly ProcessReport[]
  /** They did not answer in time: their tasks are not known. */
  readonly silent: readonly ProcessReport[]
}

interface AnyTaskReport {
  /** That of its first result. */
  readonly id: string
  readonly name: string
  /** The driver at the root of it, a client. */
  readonly job: string
  readonly attempt: number
  /** Where it runs or has run; absent for what has come to no worker. */
  readonly node?: NodeId
  readonly pid?: number
}

export interface LiveTaskReport extends AnyTaskReport {
  /** `waiting`: for its arguments. `queued`: for a worker, or on one for its turn. */
  readonly state: 'waiting' | 'queued' | 'running'
  /** How long it runs, or, while it does not, how long ago it was submitted. */
  readonly forMs: number
}

export interface TaskReport extends AnyTaskReport {
  readonly state: 'finished' | 'failed' | 'cancelled'
  /** Of Shoal's errors the code, of others the class. */
  readonly code?: string
  /** By the wall clock of its node. */
  readonly startMs: number
  readonly endMs: number
  /** How long its code took. */
  readonly busyMs: number
  /** The record stands for so many short tasks of this name, one after the other; the id is that of the first. */
  readonly count: number
}

/** A part of what a node remembers. */
interface Part {
  /** To be asked for next. */
  readonly next: number
  readonly hasMore: boolean
  /** So many that came before are gone. */
  readonly lost: number
}

export interface TaskRunsPart extends Part {
  readonly runs: readonly TaskReport[]
}

export interface EventsPart extends Part {
  readonly events: readonly EventReport[]
}

export interface OutputArgs extends FromArgs {
  /** Only of this worker. */
  readonly pid?: number
  /** Only of tasks with this in their name, or with an id that begins so. */
  readonly task?: string
  /** The last lines, instead of those from a number on. */
  readonly isTail: boolean
}

export interface OutputLine {
  /** By the wall clock of its node. */
  readonly atMs: number
  readonly pid: number
  /** Of the task that printed it. */
  readonly name: string
  /** Its id; '' when it is not known. */
  readonly task: string
  readonly isError: boolean
  readonly text: string
}

export interface OutputPart {
  readonly lines: readonly OutputLine[]
  /** To be asked for next. */
  readonly next: number
  readonly hasMore: boolean
  /** Some of what was asked for may be gone. */
  readonly isCut: boolean
}

export interface NodeLogArgs {
  readonly node: NodeId
  readonly from: number
  readonly limit: number
  readonly isTail: boolean
}

export interface NodeLogPart extends Part {
  readonly lines: readonly string[]
}

export interface DrainArgs {
  readonly node: NodeId
  /** Without one it takes as long as it takes; with `force` none at all. */
  readonly deadlineMs?: number
  /** What runs at the deadline is ended then. */
  readonly force: boolean
  /** It is to take work again. */
  readonly undo: boolean
}

/** `overdue`: it still takes no work and goes on, but its deadline has passed. */
export type DrainState = 'open' | 'draining' | 'overdue' | 'drained'

interface ValueSum {
  readonly values: number
  readonly bytes: number
}

/** How far a node is on its way out of service. */
export interface DrainReport {
  readonly node: NodeId
  readonly name: string
  readonly state: DrainState
  readonly isForced: boolean
  /** Until the deadline. */
  readonly leftMs?: number
  readonly running: readonly { readonly label: string; readonly pid: number; readonly forMs: number }[]
  /** Values that are not on another node yet. */
  readonly toMove: ValueSum
  readonly moved: ValueSum
  /** Values that no other node could take, and why the last of them. */
  readonly stuck: ValueSum & { readonly problem: string }
  /** Values of processes of this node, which end with these. */
  readonly staying: ValueSum
  readonly programs: readonly ProcessReport[]
}

/** Something that has happened on a node, or to its view of others. */
export interface EventReport {
  /** By the wall clock of the node. */
  readonly atMs: number
  readonly kind: 'node' | 'link' | 'head' | 'worker' | 'program' | 'object' | 'disk' | 'drain'
  readonly level: 'info' | 'warning' | 'error'
  /** For people to read. */
  readonly text: string
  /** Of the process that it is about. */
  readonly pid?: number
  /** The other node that it is about. */
  readonly about?: NodeId
}

export type AdminCallName = keyof AdminCalls
export type AdminArgs<N extends AdminCallName> = AdminCalls[N]['args']
export type AdminValue<N extends AdminCallName> = AdminCalls[N]['value']
export type AdminReply<N extends AdminCallName = AdminCallName> =
  | { readonly ok: true; readonly value: AdminValue<N> }
  | { readonly ok: false; readonly error: AdminError }

export interface AdminError {
  readonly code: string
  readonly message: string
  readonly retryable: boolean
}

type NoArgs = Readonly<Record<string, never>>

export interface TokenCreateArgs {
  readonly role: MemberRole
  readonly ttlMs: number
  /** How many nodes may join with it. */
  readonly uses: number
}

/** A node of the mesh as the asked one sees it. */
export interface NodeReport {
  readonly id: NodeId
  readonly name: string
  /** It is the one that was asked. */
  readonly isSelf: boolean
  readonly isHead: boolean
  /** Of the head: the number of its term. */
  readonly term?: number
  readonly role: MemberRole
  /** `suspected`: nothing was heard of it for a while and there is no link to it. */
  readonly state: 'alive' | 'suspected'
  readonly addresses: readonly string[]
  /** Of its program. */
  readonly version: string
  /** How long it runs already. */
  readonly upMs: number
  readonly resources: { readonly total: ResourceSet; readonly available: ResourceSet }
  readonly gpus: readonly GpuAdvert[]
  readonly labels: Labels
  /** Load average of the last minute, divided by the number of cores. */
  readonly load: number
  readonly workers: number
  readonly leases: number
  /** Requests that wait in its own queue. */
  readonly queued: number
  readonly store: { readonly usedBytes: number; readonly bytesMax: number }
  /** True when it takes new work. */
  readonly isOpen: boolean
  /** There is a link between the asked node and this one. */
  readonly linked: boolean
  readonly roundTripMs?: number
}

export interface MeshInfo {
  readonly meshId: string
  readonly meshName: string
  readonly self: NodeId
  readonly name: string
  readonly role: MemberRole
  /** Absent while there is none. */
  readonly head?: NodeId
  readonly headName?: string
  readonly term?: number
  /** Nodes that are known, this one included. */
  readonly nodeCount: number
  readonly links: readonly LinkReport[]
}

export interface LinkReport {
  readonly node: NodeId
  readonly name: string
  readonly address?: string
  readonly roundTripMs?: number
}

export interface TokenReport {
  readonly id: string
  readonly role: MemberRole
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly uses: number
  readonly usesLeft: number
  /** The node that made it. Only that one can admit with it. */
  readonly by: NodeId
}

export interface CreatedToken {
  readonly id: string
  readonly token: string
  readonly role: MemberRole
  readonly expiresAtMs: number
  readonly uses: number
}

/** One who is or was a member, as far as the asked node knows. */
export interface MemberReport {
  readonly node: NodeId
  readonly name?: string
  readonly role?: MemberRole
  readonly state: 'alive' | 'suspected' | 'revoked'
  readonly isSelf: boolean
  readonly certificateExpiresAtMs?: number
  readonly revokedAtMs?: number
}

/** Why a request for a worker waits. */
export interface ExplainedRequest {
  readonly label: string
  readonly resources: ResourceSet
  /** What it asks for, for people to read. */
  readonly asked: string
  /** Where it may run, for people to read. */
  readonly strategy: string
  readonly waitingMs: number
  /** `here`, `elsewhere`: in the queue of a node. `head`: the head is to name a node. `infeasible`: no node could serve it. */
  readonly state: 'here' | 'elsewhere' | 'head' | 'infeasible'
  /** Where it stands, for people to read. */
  readonly where: string
  /** What the head, or the queue that it stands in, says about it. */
  readonly headSays: string
  readonly nodes: readonly NodeVerdict[]
}

/** What one node has to say to a request. */
export interface NodeVerdict {
  readonly node: NodeId
  readonly name: string
  /** `closed`: it takes no work. `never`: it has not so much, or is not what was asked for. */
  readonly verdict: 'fits' | 'busy' | 'never' | 'closed'
  readonly reason: string
}

/** A value in the object store of a node. */
export interface ObjectReport {
  /** '' when it is of no object, or not known. */
  readonly object: string
  readonly name: string
  readonly bytes: number
  /** The client that owns it. */
  readonly owner: string
  /** `primary`: made here. `copy`: can be had again. `replica`: stands for it. */
  readonly kind: 'primary' | 'replica' | 'copy'
  readonly where: 'memory' | 'disk' | 'both' | 'writing'
  /** Processes with views on it. */
  readonly viewedBy: readonly number[]
  readonly ageMs: number
}

export interface MemoryReport {
  readonly objects: readonly HeldObject[]
  readonly more: number
  /** Processes of the asked node that did not answer in time: what they hold is not known. */
  readonly silent: readonly ProcessReport[]
}

export interface ProcessReport {
  readonly client: string
  readonly pid: number
  readonly role: 'driver' | 'worker'
  /** Of a driver: the file that it runs. */
  readonly program: string
}

/** A value in a store, and what keeps it there. */
export interface HeldObject extends ObjectReport {
  /** How it was made, such as `put` or `result of train`; '' when its owner does not say. */
  readonly made: string
  readonly holders: readonly ObjectHolder[]
}

export interface ObjectHolder {
  /** A client. */
  readonly client: string
  /** Of one on the asked node. */
  readonly process?: ProcessReport
  /**
   * `owner`: the one that made it has a ref. `borrower`: another process has. `task`: so many tasks of the client take it as
   * an argument. `rebuild`: so many results could be made again with it. `inside`: so many values of the client have a ref to
   * it inside. `view`: the process looks at the value.
   */
  readonly why: 'owner' | 'borrower' | 'task' | 'rebuild' | 'inside' | 'view'
  readonly count: number
}

export interface LocatedObject {
  readonly holders: readonly { readonly node: NodeId; readonly name: string }[]
  readonly ms: number
}

/** What only the node can know about why others see it or do not. */
export interface DoctorReport {
  readonly name: string
  readonly version: string
  readonly nodeVersion: string
  readonly role: MemberRole
  readonly meshName: string
  readonly head?: NodeId
  /** Where it listens: address and port. */
  readonly listen: { readonly host: string; readonly port: number }
  /** What it tells others. */
  readonly addresses: readonly string[]
  readonly isMdnsOn: boolean
  /** Other members that multicast has found since the start. */
  readonly mdnsSeen: number
  readonly peers: readonly DoctorPeer[]
  readonly certificateExpiresAtMs: number
  readonly store: { readonly directory: string; readonly usedBytes: number; readonly bytesMax: number }
  readonly openFilesMax?: number
}

/** What is known about one other node. */
export interface DoctorPeer {
  readonly node: NodeId
  readonly name: string
  readonly version: string
  readonly linked: boolean
  readonly roundTripMs?: number
  /** Its clock minus the one of the asked node. */
  readonly clockOffsetMs?: number
  /** Whether it could connect to each of the asked node's addresses; an empty error means yes. Absent: it did not answer. */
  readonly dialBack?: readonly { readonly address: string; readonly error: string }[]
}

const roles: readonly string[] = ['worker', 'submitter', 'admin'] satisfies MemberRole[]
const textCharsMax = 1024
const ttlMsMax = 365 * 24 * 3_600_000
const usesMax = 1000
/** Records that one node gives in one answer. */
const recordsMax = 1000
const nodesMax = 1000
const nodePattern = /^[0-9a-f]{16}$/

type Input = Readonly<Record<string, unknown>>
const noArgs = (): NoArgs => ({})

const checks: { [N in AdminCallName]: (input: Input) => AdminArgs<N> } = {
  nodes: noArgs,
  meshInfo: noArgs,
  tokenList: noArgs,
  memberList: noArgs,
  doctor: noArgs,
  objects: noArgs,
  memory: noArgs,
  placementGroups: noArgs,
  objectLocate: ({ id }) => ({ id: checkText('id', id, /^[0-9a-f]{44}$/) }),
  actors: noArgs,
  tasks: ({ limit }) => ({ limit: checkWhole('limit', limit, recordsMax) }),
  taskRuns: checkFrom,
  events: checkFrom,
  output: ({ pid, task, isTail, ...rest }) => ({
    ...checkFrom(rest),
    ...(pid === undefined ? {} : { pid: checkWhole('pid', pid, 2 ** 31) }),
    ...(task === undefined ? {} : { task: checkText('task', task) }),
    isTail: isTail === true,
  }),
  nodeLog: ({ node, from, limit, isTail }) => ({
    node: checkText('node', node, nodePattern),
    from: from === 0 ? 0 : checkWhole('from', from, Number.MAX_SAFE_INTEGER),
    limit: checkWhole('limit', limit, recordsMax),
    isTail: isTail === true,
  }),
  drain: ({ node, deadlineMs, force, undo }) => ({
    node: checkText('node', node, nodePattern),
    ...(deadlineMs === undefined ? {} : { deadlineMs: checkWhole('deadlineMs', deadlineMs, ttlMsMax) }),
    force: force === true,
    undo: undo === true,
  }),
  drainStatus: ({ node }) => ({ node: checkText('node', node, nodePattern) }),
  tokenCreate: ({ role, ttlMs, uses }) => ({
    role: checkRole(role),
    ttlMs: checkWhole('ttlMs', ttlMs, ttlMsMax),
    uses: checkWhole('uses', uses, usesMax),
  }),
  tokenRevoke: ({ id }) => ({ id: checkText('id', id, /^[0-9a-f]{1,64}$/) }),
  memberRevoke: ({ node, reason }) => ({
    node: checkText('node', node, nodePattern),
    ...(reason === undefined ? {} : { reason: checkText('reason', reason) }),
  }),
  leave: ({ force }) => ({ force: force === true }),
  explain: ({ task }) => ({ task: task === undefined ? '' : checkText('task', task) }),
}

/** True when there is such a call. */
export function isAdminCall(name: string): name is AdminCallName {
  return Object.hasOwn(checks, name)
}

/** Checks the arguments of a call, which come from another process. Throws InvalidArgumentError that names the argument. */
export function checkAdminArgs<N extends AdminCallName>(name: N, args: unknown): AdminArgs<N> {
  if (typeof args !== 'object' || args === null || Array.isArray(args)) {
    throw new InvalidArgumentError(`${name}: the arguments must be one object`)
  }
  try {
    return checks[name](args as Input)
  } catch (error) {
    if (error instanceof InvalidArgumentError) {
      throw new InvalidArgumentError(`${name}: ${error.message}`, { ...error.details })
    }
    throw error
  }
}

/** The value of a reply. Throws the error that the node has answered with. */
export function adminValue<N extends AdminCallName>(name: N, reply: unknown): AdminValue<N> {
  const { ok, value, error } = (reply ?? {}) as { ok?: unknown; value?: AdminValue<N>; error?: Partial<AdminError> }
  if (ok === true && value !== undefined) return value
  if (ok === false && typeof error?.code === 'string' && typeof error.message === 'string') {
    throw answeredError(error.code, error.message, error.retryable === true)
  }
  throw new ProtocolError(`the node's answer to ${name} is none`)
}

/** What nodes refuse calls with. */
const answeredErrors = new Map(
  [InvalidArgumentError, NotSupportedError, MembershipError, UnreachableError].map((each) => [new each('').code, each]),
)

function answeredError(code: string, message: string, retryable: boolean): ShoalError {
  const ErrorClass = answeredErrors.get(code)
  if (ErrorClass === undefined) return new ShoalError(code, message, { retryable })
  return Object.assign(new ErrorClass(message), { retryable })
}

function checkFrom({ from = {}, limit }: Input): FromArgs {
  if (typeof from !== 'object' || from === null) throw new InvalidArgumentError('from must be an object')
  const entries = Object.entries(from).map(([node, number]): [NodeId, number] => {
    checkText('from', node, nodePattern)
    if (Number.isSafeInteger(number) && number >= 0) return [node, number]
    throw new InvalidArgumentError(`from must have whole numbers; got ${shown(number)}`)
  })
  if (entries.length > nodesMax) throw new InvalidArgumentError(`from must have at most ${nodesMax} nodes`)
  return { from: Object.fromEntries(entries), limit: checkWhole('limit', limit, recordsMax) }
}

function checkRole(role: unknown): MemberRole {
  if (typeof role === 'string' && roles.includes(role)) return role as MemberRole
  throw new InvalidArgumentError(`role must be one of ${roles.join(', ')}; got ${shown(role)}`, { role })
}

function checkWhole(name: string, value: unknown, maximum: number): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= maximum) return value as number
  throw new InvalidArgumentError(`${name} must be a whole number from 1 to ${maximum}; got ${shown(value)}`, { value })
}

function checkText(name: string, value: unknown, pattern?: RegExp): string {
  if (typeof value === 'string' && value.length <= textCharsMax && pattern?.test(value) !== false) return value
  const expected =
    pattern === undefined ? `a text of at most ${textCharsMax} characters` : `a text like ${pattern.source}`
  throw new InvalidArgumentError(`${name} must be ${expected}; got ${shown(value)}`)
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 64)
}
