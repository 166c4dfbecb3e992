import type { Term } from '../../protocols/election.ts'
import type { Advert } from '../../protocols/advert.ts'
import type { ClientId, NodeId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { PeerMessageBody } from '../../protocols/peer-messages.ts'
import type { VirtualClock } from './routing-clock.ts'

type PeerMail<
  N extends
    | 'leaseAsk'
    | 'leaseAskCancel'
    | 'leaseAskRefuse'
    | `demand${'Add' | 'Remove' | 'Refused' | 'Place' | 'Infeasible' | 'Feasible'}`,
> = { [Name in N]: { readonly name: Name; readonly body: PeerMessageBody<Name> } }[N]

type ToClient<N extends 'leaseGrant' | 'leaseReclaim' | 'leaseLost' | 'leaseBlocked'> = {
  [Name in N]: { readonly name: Name; readonly client: ClientId; readonly body: MessageBody<Name> }
}[N]

/** What simulated nodes say to each other. */
export type Mail =
  | PeerMail<'leaseAsk' | 'leaseAskCancel' | 'leaseAskRefuse'>
  | PeerMail<'demandAdd' | 'demandRemove' | 'demandRefused' | 'demandPlace' | 'demandInfeasible' | 'demandFeasible'>
  | ToClient<'leaseGrant' | 'leaseReclaim' | 'leaseLost' | 'leaseBlocked'>
  | { readonly name: 'leaseReturn'; readonly client: ClientId; readonly leaseId: number }
  | { readonly name: 'leaseKill'; readonly client: ClientId; readonly leaseId: number; readonly reason: string }
  /** About placement groups. */
  | { readonly name: 'group'; readonly message: string; readonly body: unknown }
  | { readonly name: 'clientGone'; readonly client: ClientId }
  | { readonly name: 'nodeState'; readonly state: Advert }
  /** What the head of a term asks all for, and what a supporter answers; with its state if the head wants that. */
  | { readonly name: 'claim'; readonly term: Term; readonly round: number; readonly wantsReport: boolean }
  | { readonly name: 'support'; readonly term: Term; readonly round: number; readonly state: Advert | undefined }

/** One end of the network. */
export interface NetworkEnd {
  readonly id: NodeId
  readonly isDead: boolean
  onLinkUp(node: NodeId): void
  onLinkDown(node: NodeId): void
  onMail(from: NodeId, mail: Mail): void
}

/** One way of a link. */
interface Way {
  readonly to: NetworkEnd
  /** How the receiver sees the link. */
  state: 'coming' | 'up' | 'down'
  /** Mail does not overtake. */
  lastAtMs: number
  /** Of a link that is cut: what would have come later is lost. */
  cutAtMs: number
}

interface Link {
  readonly key: string
  readonly ways: readonly [Way, Way]
  isCut: boolean
}

export interface SimulatedNetworkOptions {
  clock: VirtualClock
  random(): number
  /** How often a piece of mail that `isFragile` is lost on a link that is up, and how often it comes twice. */
  lossShare?: number
  doubleShare?: number
  onLost(): void
}

const fragile = new Set<Mail['name']>([
  'leaseAsk',
  'leaseAskCancel',
  'leaseAskRefuse',
  'leaseGrant',
  'leaseReturn',
  'group',
])

/**
 * Links between simulated nodes. Mail comes late, but in order and once, until the link is cut; then some of the last is
 * lost, and each side hears of it in its own time, before it hears of a new link at the latest.
 */
export class SimulatedNetwork {
  readonly #with: SimulatedNetworkOptions
  readonly #links = new Map<string, Link>()
  /** Faults of single pieces of mail are over. */
  isCalm = false

  constructor(options: SimulatedNetworkOptions) {
    this.#with = options
  }

  connect(a: NetworkEnd, b: NetworkEnd): void {
    const key = keyOf(a.id, b.id)
    const older = this.#links.get(key)
    if (older?.isCut === false) return
    if (older !== undefined) for (const way of older.ways) this.#hearDown(older, way)
    const way = (to: NetworkEnd): Way => ({ to, state: 'coming', lastAtMs: 0, cutAtMs: Infinity })
    const link: Link = { key, ways: [way(a), way(b)], isCut: false }
    this.#links.set(key, link)
    for (const each of link.ways) {
      const upMs = this.#between(0, 10)
      each.lastAtMs = this.#with.clock.nowMs + upMs
      this.#with.clock.after(upMs, () => {
        if (link.isCut || each.to.isDead || each.state !== 'coming') return
        each.state = 'up'
        each.to.onLinkUp(other(link, each).to.id)
      })
    }
  }

  cut(a: NodeId, b: NodeId): void {
    const link = this.#links.get(keyOf(a, b))
    if (link === undefined || link.isCut) return
    const { clock, random } = this.#with
    link.isCut = true
    for (const way of link.ways) {
      way.cutAtMs = clock.nowMs + this.#between(0, 15)
      const isSlow = random() < 0.15
      const hearMs = Math.max(this.#between(0, isSlow ? 3_000 : 100), way.cutAtMs - clock.nowMs)
      clock.after(hearMs, () => this.#hearDown(link, way))
    }
  }

  /** A node has crashed: all its links break. */
  cutAll(node: NodeId): void {
    for (const { ways } of this.#links.values()) {
      const [a, b] = [ways[0].to.id, ways[1].to.id]
      if (a === node || b === node) this.cut(a, b)
    }
  }

  send(from: NodeId, to: NodeId, mail: Mail): void {
    const { clock, random, lossShare = 0, doubleShare = 0, onLost } = this.#with
    const link = this.#links.get(keyOf(from, to))
    const way = link?.ways.find((each) => each.to.id === to)
    if (link === undefined || way === undefined || link.isCut) return
    const isFragile = !this.isCalm && fragile.has(mail.name)
    if (isFragile && random() < lossShare) {
      onLost()
      return
    }
    const times = isFragile && random() < doubleShare ? 2 : 1
    for (let time = 0; time < times; time++) {
      const lateMs = (random() < 0.05 ? this.#between(20, 150) : this.#between(0.2, 8)) + time * this.#between(0, 500)
      const atMs = Math.max(clock.nowMs + lateMs, time === 0 ? way.lastAtMs : 0)
      if (time === 0) way.lastAtMs = atMs
      clock.after(atMs - clock.nowMs, () => {
        if (way.state === 'up' && atMs <= way.cutAtMs && !way.to.isDead) way.to.onMail(from, mail)
      })
    }
  }

  #hearDown(link: Link, way: Way): void {
    const wasUp = way.state === 'up'
    way.state = 'down'
    if (wasUp && !way.to.isDead) way.to.onLinkDown(other(link, way).to.id)
  }

  #between(min: number, max: number): number {
    return min + this.#with.random() * (max - min)
  }
}

function other({ ways }: Link, way: Way): Way {
  return ways[0] === way ? ways[1] : ways[0]
}

function keyOf(a: NodeId, b: NodeId): string {
  return a < b ? `${a}-${b}` : `${b}-${a}`
}
