import type { GpuAdvert } from './advert.ts'
import { InvalidArgumentError, ProtocolError, ShoalError } from './errors.ts'
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
   * an argument. `rebuild`: so many results could be made again with it. `view`: the process looks at the value.
   */
  readonly why: 'owner' | 'borrower' | 'task' | 'rebuild' | 'view'
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
  tokenCreate: ({ role, ttlMs, uses }) => ({
    role: checkRole(role),
    ttlMs: checkWhole('ttlMs', ttlMs, ttlMsMax),
    uses: checkWhole('uses', uses, usesMax),
  }),
  tokenRevoke: ({ id }) => ({ id: checkText('id', id, /^[0-9a-f]{1,64}$/) }),
  memberRevoke: ({ node, reason }) => ({
    node: checkText('node', node, /^[0-9a-f]{16}$/),
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
    throw new ShoalError(error.code, error.message, { retryable: error.retryable === true })
  }
  throw new ProtocolError(`the node's answer to ${name} is none`)
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
