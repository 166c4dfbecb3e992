import { ByteReader, ByteWriter } from '../../protocols/bytes.ts'
import { compareTerms, type Term } from '../../protocols/election.ts'
import { nodeOf } from '../../protocols/ids.ts'
import type { KeptActor } from '../../protocols/kept-actor.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import { peerMessages, type PeerMessageName } from '../../protocols/peer-messages.ts'
import { defaultStrategy } from '../../protocols/scheduling.ts'
import type { Codec } from '../../protocols/schema.ts'
import { ActorKeeper } from '../../node/actors/actor-keeper.ts'
import { NameDesk } from '../../node/names/name-desk.ts'
import { NameOffice, type NamePost } from '../../node/names/name-office.ts'
import type { LeaseEnd } from '../../node/server/lease-end.ts'
import { VirtualClock } from './routing-clock.ts'
import { seededRandom } from './seeded-random.ts'

export interface KeeperWorldOptions {
  readonly seed: number
  /**
   * `whole`: one node at a time dies, and others have time to take its actors. `cut`: the network is cut, too, and as many
   * die as chance will have it.
   */
  readonly faults: 'whole' | 'cut'
  /** What is wrong in this run, to show that it would be noticed: the reports of nodes are empty; nobody is told of a death. */
  readonly mutation?: 'forgetful' | 'silent'
}

interface Instance {
  readonly actor: string
  readonly node: SimNode
  readonly leaseId: number
  isUp: boolean
}

interface SimNode {
  readonly id: string
  readonly index: number
  life: number
  isUp: boolean
  keeper: ActorKeeper
  names: NameDesk
  office: NameOffice
  isActing: boolean
  /** It takes no new work. */
  isClosed: boolean
  fence: Term | undefined
  obeys: Term | undefined
  links: Set<SimNode>
  leases: Map<number, Instance | undefined>
}

interface Made {
  readonly actor: string
  readonly name: string
  readonly maxRestarts: number
  outcome: MessageBody<'actorNameAnswer'>['outcome'] | undefined
  isKilled: boolean
  killedAtMs: number
}

const names = ['a', 'b', '', '']

/** Keepers of detached actors, the product's own, with names, heads and links that come and go in virtual time. */
export class KeeperWorld {
  readonly clock = new VirtualClock()
  readonly made: Made[] = []
  readonly #random: () => number
  readonly #options: KeeperWorldOptions
  readonly #nodes: SimNode[] = []
  readonly #side = new Map<SimNode, number>()
  readonly #session = new Map<string, number>()
  readonly #instances = new Set<Instance>()
  #last = 0
  #isCalm = false
  #isSettled = false
  restarted = 0
  killedInReserve = 0
  /** Told what happens, for whoever looks for the reason of a failure. */
  trace: (text: string) => void = () => undefined

  constructor(options: KeeperWorldOptions) {
    this.#options = options
    this.#random = seededRandom(options.seed)
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)] as T
  }

  #after(ms: number, run: () => void): void {
    this.clock.after(ms, run)
  }

  #fail(text: string): never {
    throw new Error(`seed ${this.#options.seed} at ${Math.round(this.clock.nowMs)} ms: ${text}`)
  }

  // --- nodes

  #addNode(index: number): void {
    const id = (index + 1).toString(16).padStart(16, '0')
    const node = { id, index, life: 0, isUp: false, links: new Set(), leases: new Map() } as unknown as SimNode
    this.#nodes.push(node)
    this.#side.set(node, 0)
    this.#boot(node)
  }

  #boot(node: SimNode): void {
    node.life++
    node.isUp = true
    node.isActing = false
    node.isClosed = false
    node.obeys = undefined
    node.links = new Set([node])
    node.leases = new Map()
    const { life } = node
    const post: NamePost = { send: (to, name, body) => this.#send(node, life, to, name, body) }
    const self = node.id
    const id = self + (++this.#last).toString(16).padStart(16, '0')
    const now = (): number => this.clock.nowMs
    const directory = { get: (client: string) => this.#clientOf(node, client) }
    const desk = new NameDesk({ self, directory, now })
    node.names = desk
    node.office = new NameOffice({ post, now })
    node.keeper = new ActorKeeper({
      self,
      id,
      directory,
      names: desk,
      leases: this.#leasesOf(node, life) as never,
      whyForbidden: () => undefined,
      bringCode: (_, __, done) => this.#after(this.#random() * 100, () => node.life === life && done([])),
      nodesInReserve: () => [...node.links].filter((each) => each !== node).map((each) => each.id),
      now,
      log: () => undefined,
    })
    desk.onLead = (named) => {
      this.restarted++
      node.keeper.lead(named)
    }
    desk.open(post)
    node.keeper.join(post)
    for (const other of this.#nodes) this.#link(node, other)
  }

  #clientOf(node: SimNode, client: string): LeaseEnd | undefined {
    if (client === node.keeper.id) return node.keeper
    const other = this.#nodes.find(({ keeper }) => keeper?.id === client)
    return other === undefined ? this.#creator(client) : this.#keeperAt(node, other)
  }

  /** The keeper of another node, as a client. */
  #keeperAt(from: SimNode, to: SimNode): LeaseEnd | undefined {
    if (!from.links.has(to)) return undefined
    const { id } = to.keeper
    const session = this.#sessionOf(from, to)
    const send: LeaseEnd['send'] = (name, body) => {
      this.#after(1 + this.#random() * 20, () => {
        if (to.isUp && to.keeper.id === id && this.#sessionOf(from, to) === session) to.keeper.send(name, body)
      })
    }
    return { id, wantsLogs: false, unsentBytes: 0, forward: () => undefined, send }
  }

  /** Whoever makes actors: only the answer counts. */
  #creator(id: string): LeaseEnd {
    return {
      id,
      wantsLogs: false,
      unsentBytes: 0,
      forward: () => undefined,
      send: (name, body) => {
        if (name !== 'actorNameAnswer') return
        const { requestId, outcome } = body as MessageBody<'actorNameAnswer'>
        const made = this.made[requestId]
        if (made !== undefined) made.outcome = outcome
      },
    }
  }

  #crash(node: SimNode): void {
    this.trace(`! DOWN ${node.id.slice(-1)}`)
    // Of what was killed on a node that dies at once, perhaps nobody has heard.
    for (const made of this.made) if (this.clock.nowMs - made.killedAtMs < 4000) made.killedAtMs = Infinity
    node.isUp = false
    node.life++
    node.keeper.close()
    node.names.close()
    node.office.stop()
    node.isActing = false
    for (const instance of this.#instances) if (instance.node === node) this.#instances.delete(instance)
    for (const other of this.#nodes) if (other !== node) this.#unlink(node, other)
  }

  #leasesOf(node: SimNode, life: number) {
    const isThere = (): boolean => node.life === life && node.isUp
    const tell = (run: (keeper: ActorKeeper) => void): void =>
      this.#after(1 + this.#random() * 20, () => isThere() && run(node.keeper))
    const end = (leaseId: number): void => {
      const instance = node.leases.get(leaseId)
      node.leases.delete(leaseId)
      if (instance !== undefined) this.#instances.delete(instance)
    }
    return {
      request: (_: LeaseEnd, { requestId, strategy }: MessageBody<'leaseRequest'>) =>
        tell((keeper) => {
          const open = [...node.links].filter(({ isClosed }) => !isClosed)
          if (open.length === 0 || (strategy.kind === 'node' && node.isClosed)) {
            const error = open.length === 0 || this.#random() < 0.5 ? 'busy' : 'infeasible'
            keeper.send('leaseRefuse', { requestId, error, message: 'closed', details: {} })
            return
          }
          if (this.#random() < 0.05 && !this.#isCalm) {
            keeper.send('leaseRefuse', { requestId, error: 'busy', message: 'busy', details: {} })
            return
          }
          const place = strategy.kind === 'node' ? node : this.#pick(open)
          const leaseId = ++this.#last
          node.leases.set(leaseId, undefined)
          keeper.send('leaseGrant', {
            requestId,
            leaseId,
            workerId: place.id + leaseId.toString(16).padStart(16, '0'),
            workerPid: leaseId,
            gpuIds: [],
            nodesAble: 1,
          })
          // The other node may go meanwhile.
          if (place === node) return
          const session = this.#sessionOf(node, place)
          this.#after(3000, () => {
            if (isThere() && node.leases.has(leaseId) && this.#sessionOf(node, place) !== session) {
              node.keeper.send('leaseLost', { leaseId, reason: 'gone', outOfMemory: [], isGroupRemoved: false })
            }
          })
        }),
      cancelRequest: () => undefined,
      giveBack: (_: LeaseEnd, leaseId: number) => end(leaseId),
      kill: (_: LeaseEnd, leaseId: number) => {
        if (!node.leases.has(leaseId)) return
        end(leaseId)
        tell((keeper) =>
          keeper.send('leaseLost', { leaseId, reason: 'killed', outOfMemory: [], isGroupRemoved: false }),
        )
      },
      routes: {
        get: (leaseId: number) =>
          node.leases.has(leaseId)
            ? {
                worker: {
                  send: (name: string, body: MessageBody<'actorStart'>) => {
                    if (name !== 'actorStart') return
                    const instance = { actor: body.actor, node, leaseId, isUp: true }
                    node.leases.set(leaseId, instance)
                    this.#instances.add(instance)
                    this.trace(`START ${body.actor} at ${node.id.slice(-1)}`)
                    this.#check()
                    const result = { sequence: 1, status: 'ok' as const, durationUs: 1, values: [] }
                    tell((keeper) => keeper.send('actorStarted', { leaseId, result }))
                  },
                },
              }
            : undefined,
      },
    }
  }

  // --- links, heads

  #reaches(a: SimNode, b: SimNode): boolean {
    return a.isUp && b.isUp && this.#side.get(a) === this.#side.get(b)
  }

  #link(a: SimNode, b: SimNode): void {
    if (a === b || !this.#reaches(a, b)) return
    const session = this.#sessionOf(a, b)
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      this.#after(this.#random() * 20, () => {
        if (this.#sessionOf(a, b) !== session || from.links.has(to) || !this.#reaches(a, b)) return
        from.links.add(to)
        if (from.isActing) from.office.nodeUp(to.id)
        from.keeper.linkChanged(to.id, true)
        if (from.obeys?.head === to.id) this.#tellHead(from)
      })
    }
  }

  #unlink(a: SimNode, b: SimNode): void {
    this.#session.set(pairOf(a, b), this.#sessionOf(a, b) + 1)
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      if (!from.links.delete(to) || !from.isUp) continue
      from.names.linkDown(to.id)
      if (from.isActing) from.office.nodeDown(to.id)
      from.keeper.linkChanged(to.id, false)
      for (const [leaseId, instance] of from.leases) {
        if (instance === undefined) continue
        if (instance.node === to)
          from.keeper.send('leaseLost', { leaseId, reason: 'node gone', outOfMemory: [], isGroupRemoved: false })
      }
    }
  }

  #sessionOf(a: SimNode, b: SimNode): number {
    return this.#session.get(pairOf(a, b)) ?? 0
  }

  #elect(side: number): void {
    const members = this.#nodes.filter((node) => node.isUp && this.#side.get(node) === side)
    if (members.length === 0) return
    const head = this.#pick(members)
    const counter = Math.max(...members.map(({ fence }) => fence?.counter ?? 0)) + 1
    const term = { counter, head: head.id }
    this.trace(`! ELECT ${counter} ${head.id.slice(-1)}`)
    for (const node of members) {
      const { life } = node
      const isMeant = (): boolean => node.isUp && node.life === life && this.#side.get(node) === side
      if (node === head) {
        this.#after(this.#random() * 50, () => {
          if (!isMeant() || (node.fence !== undefined && compareTerms(term, node.fence) < 0)) return
          node.isActing = true
          node.office.start(
            term,
            Array.from(node.links, ({ id }) => id),
          )
          this.#obey(node, term)
        })
        continue
      }
      this.#after(this.#random() * 600, () => {
        if (!isMeant() || !node.isActing) return
        node.isActing = false
        node.office.stop()
      })
      this.#after(this.#random() * 1000, () => isMeant() && this.#obey(node, term))
    }
  }

  #obey(node: SimNode, term: Term): void {
    if (node.fence !== undefined && compareTerms(term, node.fence) < 0) return
    node.fence = term
    node.obeys = term
    this.#tellHead(node)
  }

  #tellHead(node: SimNode): void {
    const { obeys } = node
    const isReached = obeys !== undefined && [...node.links].some(({ id }) => id === obeys.head)
    node.names.headChanged(isReached ? obeys : undefined)
  }

  #send(from: SimNode, life: number, id: string, name: PeerMessageName, body: unknown): void {
    const to = this.#nodes.find((each) => each.id === id) as SimNode
    if (from.life !== life || !from.links.has(to)) return
    const codec = peerMessages[name].body as Codec<unknown>
    const writer = new ByteWriter(256)
    const { mutation } = this.#options
    if (mutation === 'silent' && (name === 'keepForget' || name === 'nameLost')) return
    codec.write(writer, mutation === 'forgetful' && name === 'nameReport' ? { ...(body as object), names: [] } : body)
    const bytes = Buffer.from(writer.take())
    const session = this.#sessionOf(from, to)
    const toLife = to.life
    const arrive = (): void => {
      if (to.life !== toLife || !to.isUp || this.#sessionOf(from, to) !== session) return
      const handlers = { ...to.names.handlers(), ...to.keeper.handlers(), ...(to.isActing ? to.office.handlers() : {}) }
      const handler = handlers[name as keyof typeof handlers] as ((from: string, body: unknown) => void) | undefined
      this.trace(
        `${from.id.slice(-1)} > ${to.id.slice(-1)} ${name} ${JSON.stringify(codec.read(new ByteReader(bytes)), (k, v) => (k === 'description' || k === 'creation' || k === 'settings' ? undefined : v))}`,
      )
      handler?.(from.id, codec.read(new ByteReader(bytes)))
    }
    if (from === to) {
      this.#after(0, arrive)
      return
    }
    if (this.#isCalm || this.#random() > 0.05) this.#after(1 + this.#random() * 20, arrive)
    if (!this.#isCalm && this.#random() < 0.05) this.#after(1 + this.#random() * 300, arrive)
  }

  // --- what is done

  #make(): void {
    const node = this.#pick(this.#nodes.filter((each) => each.isUp))
    const requestId = this.made.length
    const client = node.id + (++this.#last).toString(16).padStart(16, '0')
    const actor = `${client}000000000001`
    const name = this.#pick(names)
    const maxRestarts = this.#pick([-1, -1, 0])
    this.made.push({ actor, name, maxRestarts, outcome: undefined, isKilled: false, killedAtMs: -Infinity })
    node.keeper.keep(this.#creator(client), { requestId, kept: keptActor(client, actor, name, maxRestarts) })
  }

  /** One that may be anywhere between its node's end and its next start: who is asked is whom the head would name. */
  #killAnywhere(): void {
    const made = this.made.filter(({ outcome, isKilled }) => outcome === 'given' && !isKilled)
    const live = new Set(Array.from(this.#instances, ({ actor }) => actor))
    const away = made.filter(({ actor }) => !live.has(actor))
    this.#killOf(this.#pick(away.length > 0 ? away : made))
  }

  #killOf(made: Made | undefined): void {
    if (made === undefined) return
    const holders = this.#nodes
      .filter(({ isUp }) => isUp)
      .flatMap((node) => node.names.held().map((named) => ({ node, named })))
      .filter(({ named }) => named.actor === made.actor)
    const holder = holders.find(({ named }) => !named.isReserve) ?? this.#pick(holders)
    if (holder === undefined) return
    made.isKilled = true
    made.killedAtMs = this.clock.nowMs
    const { keeper } = holder.node
    this.trace(`KILL ${made.actor} by ${holder.node.id.slice(-1)}${holder.named.isReserve ? ', a reserve' : ''}`)
    if (holder.named.isReserve) this.killedInReserve++
    keeper.send('actorKill', { to: keeper.id, from: keeper.id, actor: made.actor, mayRestart: false })
  }

  #kill(): void {
    const instance = this.#pick([...this.#instances])
    const made = this.made.find(({ actor }) => actor === instance?.actor)
    if (instance === undefined || made?.outcome !== 'given') return
    if (this.#random() < 0.5) {
      made.isKilled = true
      made.killedAtMs = this.clock.nowMs
      this.trace(`KILL ${instance.actor} at ${instance.node.id.slice(-1)}`)
      const { id } = instance.node.keeper
      instance.node.keeper.send('actorKill', { to: id, from: id, actor: instance.actor, mayRestart: false })
      return
    }
    // Its process dies.
    this.trace(`CRASH ${instance.actor} at ${instance.node.id.slice(-1)}`)
    instance.node.leases.delete(instance.leaseId)
    this.#instances.delete(instance)
    if (made.maxRestarts === 0) made.isKilled = true
    instance.node.keeper.send('leaseLost', {
      leaseId: instance.leaseId,
      reason: 'crashed',
      outOfMemory: [],
      isGroupRemoved: false,
    })
  }

  #fault(): void {
    const up = this.#nodes.filter((each) => each.isUp)
    const what = this.#random()
    if (what < 0.3) this.#elect(this.#side.get(this.#pick(up)) ?? 0)
    else if (what < 0.4) this.#drain(this.#pick(up))
    else if (what < 0.7 || this.#options.faults === 'whole') {
      const down = this.#nodes.filter((each) => !each.isUp)
      const node = this.#pick(down.length > 0 ? down : this.#nodes)
      if (!node.isUp) this.#boot(node)
      else if (up.length > 2) {
        for (const each of this.#instances) {
          const made = each.node === node ? this.made.find(({ actor }) => actor === each.actor) : undefined
          if (made?.maxRestarts === 0) made.isKilled = true
        }
        this.#crash(node)
        // Some of those that it has led are killed before they run again.
        for (let i = 0; i < 4; i++) this.#after(this.#random() * 4000, () => this.#killAnywhere())
      }
      this.#after(this.#random() * 1500, () => this.#elect(this.#side.get(node) ?? 0))
    } else this.#move(what < 0.85 ? this.#nodes.map(() => Math.floor(this.#random() * 2)) : this.#nodes.map(() => 0))
  }

  /** A node is drained, by force: what runs there is ended. Later it takes work again. */
  #drain(node: SimNode): void {
    if (node.isClosed || this.#nodes.some(({ isClosed }) => isClosed)) return
    this.trace(`! DRAIN ${node.id.slice(-1)}`)
    node.isClosed = true
    const { life } = node
    this.#after(8000, () => node.life === life && (node.isClosed = false))
    for (const instance of this.#instances) {
      if (instance.node !== node) continue
      const made = this.made.find(({ actor }) => actor === instance.actor)
      if (made?.maxRestarts === 0) made.isKilled = true
      node.leases.delete(instance.leaseId)
      this.#instances.delete(instance)
      node.keeper.send('leaseLost', {
        leaseId: instance.leaseId,
        reason: 'drained',
        outOfMemory: [],
        isGroupRemoved: false,
      })
    }
  }

  #move(sides: readonly number[]): void {
    for (const node of this.#nodes) this.#side.set(node, sides[node.index] ?? 0)
    for (const a of this.#nodes) {
      for (const b of this.#nodes) {
        if (a.index >= b.index) continue
        if (this.#reaches(a, b)) this.#link(a, b)
        else this.#unlink(a, b)
      }
    }
    for (const side of new Set(sides)) this.#after(200 + this.#random() * 1000, () => this.#elect(side))
  }

  #check(): void {
    if (this.#options.faults === 'cut' && !this.#isSettled) return
    const seen = new Set<string>()
    for (const { actor } of this.#instances) {
      if (seen.has(actor)) this.#fail(`actor ${actor} lives twice`)
      seen.add(actor)
    }
  }

  run(): void {
    this.clock.installed(() => {
      const count = 3 + Math.floor(this.#random() * 3)
      for (let index = 0; index < count; index++) this.#addNode(index)
      this.#elect(0)
      const endMs = 60_000
      const act = (): void => {
        if (this.clock.nowMs >= endMs) return
        const what = this.#random()
        if (what < 0.5) this.#make()
        else if (what < 0.9) this.#kill()
        else this.#killAnywhere()
        this.#after(this.#random() * 1500, act)
      }
      this.#after(500, act)
      const fault = (): void => {
        if (this.clock.nowMs >= endMs) return
        this.#fault()
        // Others have time to take over, and to find others in reserve.
        const restMs = this.#options.faults === 'whole' ? 9000 : 1000
        this.#after(restMs + this.#random() * 4000, fault)
      }
      this.#after(3000, fault)
      this.clock.run(endMs)
      this.#settle()
    })
  }

  #settle(): void {
    for (const node of this.#nodes) {
      if (!node.isUp) this.#boot(node)
      node.isClosed = false
    }
    this.#move(this.#nodes.map(() => 0))
    this.clock.run(2500)
    this.#isCalm = true
    this.#elect(0)
    this.clock.run(60_000)
    this.#isSettled = true
    this.#check()
    const head = this.#nodes.find(({ isActing, obeys, id }) => isActing && obeys?.head === id)
    const known = head?.office.names()?.map(({ actor }) => actor) ?? []
    const live = Array.from(this.#instances, ({ actor }) => actor)
    if (known.toSorted().join(' ') !== live.toSorted().join(' ')) {
      this.#fail(`the head knows ${known.toSorted().join(' ')}, but there are ${live.toSorted().join(' ')}`)
    }
    const byName = new Map<string, string>()
    for (const { actor, name, outcome, isKilled, killedAtMs, maxRestarts } of this.made) {
      const isLive = live.includes(actor)
      if (isLive && name !== '') {
        if (byName.has(name)) this.#fail(`the name ${name} is that of two`)
        byName.set(name, actor)
      }
      if (this.#options.faults !== 'whole' || killedAtMs === Infinity) continue
      if (isKilled && isLive) this.#fail(`actor ${actor} was killed, and lives`)
      if (outcome === 'given' && !isKilled && !isLive && maxRestarts < 0) this.#fail(`actor ${actor} is lost`)
    }
    for (const node of this.#nodes) {
      for (const named of node.names.held()) {
        if (named.isReserve && !live.includes(named.actor))
          this.#fail(`node ${node.id} has dead ${named.actor} in reserve`)
        if (nodeOf(named.manager) !== node.id) this.#fail('a name is in wrong hands')
      }
    }
  }
}

function pairOf(a: SimNode, b: SimNode): string {
  return a.index < b.index ? `${a.index} ${b.index}` : `${b.index} ${a.index}`
}

function keptActor(client: string, actor: string, name: string, restartsLeft: number): KeptActor {
  const hold = { actor, manager: client, epoch: 0, isReserve: false }
  return {
    named: { namespace: '', name, ...hold, term: 0, description: '{}' },
    creation: {
      sequence: 1,
      functionId: actor,
      attempt: 0,
      returnCount: 1,
      isCareful: false,
      streamSkip: 0,
      streamLimit: 0,
      group: '',
      name: 'a',
      args: { kind: 'inline', isError: false, format: 1, head: new Uint8Array(1), buffers: [], refs: [], classes: [] },
      resolved: [],
    },
    settings: { name, namespace: '', className: 'A', restarts: 0, maxConcurrency: 0, groups: [] },
    functions: [],
    blobs: [],
    resources: {},
    strategy: defaultStrategy,
    envVars: {},
    envKey: '',
    restartsLeft,
  }
}
