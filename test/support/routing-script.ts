import assert from 'node:assert/strict'
import { LeaseRouter } from '../../node/routing/lease-router.ts'
import type { RefusalKind, RoutedRequest, RouterAction, RouterEvent } from '../../node/routing/router-events.ts'
import type { ResourceSet } from '../../protocols/resources.ts'
import { defaultStrategy, type Labels } from '../../protocols/scheduling.ts'

export interface RoutingScriptOptions {
  /** Nodes that are linked at the start. */
  links?: readonly string[]
  head?: string
  labels?: Labels
  /**
   * CPUs of the own node.
   * @default 4
   */
  cpus?: number
  /** Other nodes are known, linked or not. */
  expectsOthers?: boolean
}

/** The node whose router is on the stage. */
export const home = 'home'

/** The client that asks, unless a request says otherwise. */
export const driver = 'driver'

/**
 * A router on a stage: every line of a test is what happens, when, and what the router wants done about it.
 *
 * @example
 * const script = new RoutingScript({ links: ['a'], head: 'a' })
 * script.at(0, request(1), 'tell a: add 1, waited 0')
 * script.at(5, placed(1, 'a'), 'ask a: 1, now')
 */
export class RoutingScript {
  readonly router: LeaseRouter
  /** The own node has so much room that it need not ask. */
  isRoomy = false
  /** It takes no new work. */
  isClosed = false
  readonly cpus: number

  constructor({ links = [], head, labels = {}, cpus = 4, expectsOthers = false }: RoutingScriptOptions = {}) {
    this.cpus = cpus
    const isClosed = (): boolean => this.isClosed
    this.router = new LeaseRouter({
      self: home,
      labels,
      expectsOthers: () => expectsOthers,
      local: {
        missing: (resources) => Object.keys(resources).filter((name) => (resources[name] ?? 0) > this.#total(name)),
        hasAmpleRoom: () => this.isRoomy,
        get isClosed() {
          return isClosed()
        },
      },
    })
    for (const node of links) this.at(0, { type: 'linkUp', node })
    if (head !== undefined) this.at(0, { type: 'headChanged', head })
  }

  /** What happens at a time, and all that is to be done then, in its order. */
  at(nowMs: number, event: RouterEvent, ...lines: string[]): void {
    assert.deepEqual(this.router.step(event, nowMs).map(describeAction), lines, `at ${nowMs} ms, ${event.type}`)
  }

  tick(nowMs: number, ...lines: string[]): void {
    this.at(nowMs, { type: 'tick' }, ...lines)
  }

  /** Where the open requests are. */
  places(): string[] {
    return Array.from(this.router.waiting(), ({ request, at }) => `${request.requestId}: ${at ?? 'nowhere'}`)
  }

  #total(name: string): number {
    return name === 'CPU' ? this.cpus : 0
  }
}

export function request(requestId: number, fields: Partial<RoutedRequest> = {}): RouterEvent & { type: 'requested' } {
  const resources: ResourceSet = { CPU: 1 }
  const common = { client: driver, resources, strategy: defaultStrategy, envKey: '', envVars: {}, depth: 0 }
  return {
    type: 'requested',
    request: { ...common, job: fields.client ?? driver, label: 'f', isActor: false, requestId, ...fields },
  }
}

export function cancelled(requestId: number): RouterEvent {
  return { type: 'cancelled', client: driver, requestId }
}

export function placed(requestId: number, node: string, how: 'now' | 'may wait' = 'now'): RouterEvent {
  return { type: 'placed', client: driver, requestId, node, mayWait: how === 'may wait' }
}

export function granted(requestId: number, node: string, leaseId: number): RouterEvent {
  const grant = { leaseId, workerId: `${node}-worker`, workerPid: 1, gpuIds: [], nodesAble: 1 }
  return { type: 'remoteGranted', node, client: driver, requestId, grant }
}

/** A refusal by another node, or by the own one. */
export function refused(requestId: number, node: string, error: RefusalKind): RouterEvent {
  const refusal = { error, message: `it is ${error}`, details: {} }
  const key = { client: driver, requestId }
  return node === home ? { type: 'localRefused', ...key, refusal } : { type: 'remoteRefused', node, ...key, refusal }
}

export function infeasible(requestId: number, reason: string): RouterEvent {
  return { type: 'infeasible', client: driver, requestId, reason, details: {} }
}

function describeAction(action: RouterAction): string {
  switch (action.type) {
    case 'askLocal':
      return `ask here: ${action.request.requestId}, ${action.mayWait ? 'may wait' : 'now'}`
    case 'cancelLocal':
      return `cancel here: ${action.requestId}`
    case 'askRemote':
      return `ask ${action.node}: ${action.request.requestId}, ${action.mayWait ? 'may wait' : 'now'}`
    case 'cancelRemote':
      return `cancel at ${action.node}: ${action.requestId}`
    case 'returnRemote':
      return `return to ${action.node}: lease ${action.leaseId} of ${action.client}`
    case 'accept':
      return `accept ${action.requestId}: lease ${action.grant.leaseId} of ${action.node} for ${action.job}`
    case 'refuse':
      return `refuse ${action.requestId}: ${action.refusal.error}, ${action.refusal.message}`
    case 'demandAdd':
      return `tell ${action.head}: add ${action.request.requestId}, waited ${action.waitedMs}`
    case 'demandRemove':
      return `tell ${action.head}: remove ${action.requestId}, ${action.isGranted ? 'granted' : 'not granted'}`
    case 'demandRefused':
      return `tell ${action.head}: ${action.requestId} was refused by ${action.node}`
  }
}
