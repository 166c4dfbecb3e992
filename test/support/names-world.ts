import { ByteReader, ByteWriter } from '../../protocols/bytes.ts'
import { compareNamed, nameKey, type NamedActor } from '../../protocols/actor-names.ts'
import { compareTerms, type Term } from '../../protocols/election.ts'
import { peerMessages } from '../../protocols/peer-messages.ts'
import type { Codec } from '../../protocols/schema.ts'
import { ActorDirectory, type DirectoryAction, type DirectoryEvent } from '../../node/names/actor-directory.ts'
import { NameBook, type BookAction, type BookEvent } from '../../node/names/name-book.ts'
import { VirtualClock } from './routing-clock.ts'
import { seededRandom } from './seeded-random.ts'

export interface NamesWorldOptions {
  readonly seed: number
  /** False: the network is never cut and no node dies, so that two actors must never have one name, not for a moment. */
  readonly hasPartitions: boolean
  /** What is wrong in this run, to show that it would be noticed. */
  readonly mutation?: 'hasty' | 'forgetful'
}

/** A client of a node that wants names, and what it has. */
interface SimClient {
  readonly id: string
  readonly node: SimNode
  /** By actor: what it has asked for and not heard of. */
  readonly waiting: Map<string, string>
  /** Actors that live under their names. */
  readonly live: Map<string, NamedActor>
  finds: number
  isGone: boolean
}

interface SimNode {
  readonly id: string
  readonly index: number
  /** Goes up when it dies: what was under way is forgotten. */
  life: number
  isUp: boolean
  book: NameBook
  clients: SimClient[]
  /** The highest term that it has accepted. */
  fence: Term | undefined
  obeys: Term | undefined
  directory: ActorDirectory | undefined
  /** Nodes to which it believes to have a link. */
  links: Set<SimNode>
}

const names = ['a', 'b', 'c']
const clientsPerNode = 3

/** Nodes whose clients want the same few names, under heads that change, on a network that loses, doubles and is cut. */
export class NamesWorld {
  readonly clock = new VirtualClock()
  readonly #random: () => number
  readonly #options: NamesWorldOptions
  readonly #nodes: SimNode[] = []
  /** Which side of the network a node is on. */
  readonly #side = new Map<SimNode, number>()
  /** Goes up when the link of a pair is cut. */
  readonly #session = new Map<string, number>()
  #lastActor = 0
  #isCalm = false
  given = 0
  taken = 0
  lost = 0
  unavailable = 0

  constructor(options: NamesWorldOptions) {
    this.#options = options
    this.#random = seededRandom(options.seed)
    const count = 2 + this.#below(4)
    for (let index = 0; index < count; index++) this.#addNode(index)
    for (const node of this.#nodes) this.#boot(node)
    this.#elect(0)
  }

  #below(count: number): number {
    return Math.floor(this.#random() * count)
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)] as T
  }

  #after(ms: number, run: () => void): void {
    this.clock.after(ms, run)
  }

  // --- nodes and links

  #addNode(index: number): void {
    const id = (index + 1).toString(16).padStart(16, '0')
    const node: SimNode = {
      id,
      index,
      life: 0,
      isUp: false,
      book: new NameBook(id),
      clients: [],
      fence: undefined,
      obeys: undefined,
      directory: undefined,
      links: new Set(),
    }
    this.#nodes.push(node)
    this.#side.set(node, 0)
  }

  #boot(node: SimNode): void {
    node.isUp = true
    node.life++
    node.book = new NameBook(node.id)
    node.obeys = undefined
    node.directory = undefined
    node.links = new Set([node])
    node.clients = Array.from({ length: clientsPerNode }, () => this.#addClient(node))
    for (const other of this.#nodes) this.#link(node, other)
    const { life } = node
    const tick = (): void => {
      if (node.life !== life || !node.isUp) return
      this.#book(node, { type: 'tick' })
      this.#direct(node, { type: 'tick' })
      this.#after(50, tick)
    }
    tick()
  }

  #addClient(node: SimNode): SimClient {
    const id = node.id + (++this.#lastActor).toString(16).padStart(16, '0')
    return { id, node, waiting: new Map(), live: new Map(), finds: 0, isGone: false }
  }

  #crash(node: SimNode): void {
    for (const client of node.clients) client.isGone = true
    node.isUp = false
    for (const other of this.#nodes) if (other !== node) this.#unlink(node, other)
    node.directory = undefined
    node.clients = []
  }

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
        this.#direct(from, { type: 'nodeUp', node: to.id })
        if (from.obeys?.head === to.id) this.#tellHead(from)
      })
    }
  }

  #unlink(a: SimNode, b: SimNode): void {
    this.#session.set(pairOf(a, b), this.#sessionOf(a, b) + 1)
    const session = this.#sessionOf(a, b)
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const end = (): void => {
        if (!from.links.delete(to)) return
        this.#direct(from, { type: 'nodeDown', node: to.id })
        if (from.obeys?.head === to.id) this.#book(from, { type: 'head', term: undefined })
      }
      // Not at both ends at once.
      if (!from.isUp || !to.isUp) end()
      else this.#after(this.#random() * 5, () => this.#sessionOf(a, b) === session && end())
    }
  }

  /** A newer link takes the place of the one that there is; not at both ends at once. */
  #relink(a: SimNode, b: SimNode): void {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      this.#after(this.#random() * 50, () => {
        if (!from.links.has(to)) return
        this.#direct(from, { type: 'nodeDown', node: to.id })
        this.#direct(from, { type: 'nodeUp', node: to.id })
        if (from.obeys?.head !== to.id) return
        this.#book(from, { type: 'head', term: undefined })
        this.#tellHead(from)
      })
    }
  }

  #sessionOf(a: SimNode, b: SimNode): number {
    return this.#session.get(pairOf(a, b)) ?? 0
  }

  // --- heads

  #elect(side: number): void {
    const members = this.#nodes.filter((node) => node.isUp && this.#side.get(node) === side)
    if (members.length === 0) return
    const head = this.#pick(members)
    const known = Math.max(...members.map(({ fence }) => fence?.counter ?? 0))
    // Two sides may come to the same counter.
    const term = { counter: known + 1, head: head.id }
    for (const node of members) {
      const { life } = node
      const isMeant = (): boolean => node.isUp && node.life === life && this.#side.get(node) === side
      if (node === head) {
        this.#after(this.#random() * 50, () => isMeant() && this.#act(node, term))
      } else {
        // An old head may go on for a while.
        if (node.directory !== undefined) {
          this.#after(this.#random() * 600, () => {
            if (node.directory !== undefined && compareTerms(node.directory.term, term) < 0) node.directory = undefined
          })
        }
        this.#after(this.#random() * 1000, () => isMeant() && this.#obey(node, term))
      }
    }
  }

  #act(node: SimNode, term: Term): void {
    if (node.fence !== undefined && compareTerms(term, node.fence) < 0) return
    node.directory = new ActorDirectory(term)
    for (const each of node.links) this.#direct(node, { type: 'nodeUp', node: each.id })
    this.#obey(node, term)
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
    this.#book(node, { type: 'head', term: isReached ? obeys : undefined })
  }

  // --- messages

  #direct(node: SimNode, event: DirectoryEvent): void {
    if (node.directory === undefined || !node.isUp) return
    const nowMs = this.clock.nowMs
    const isHasty = this.#options.mutation === 'hasty' && event.type === 'nodeUp'
    for (const action of node.directory.step(event, isHasty ? nowMs - 1e6 : nowMs)) this.#send(node, action)
  }

  #book(node: SimNode, event: BookEvent): void {
    if (!node.isUp) return
    for (const action of node.book.step(event, this.clock.nowMs)) {
      if (action.type === 'answer') this.#onAnswer(node, action)
      else if (action.type === 'lost') this.#onLost(node, action)
      else if (action.type !== 'lead') this.#send(node, action)
    }
  }

  #send(from: SimNode, action: DirectoryAction | Exclude<BookAction, { type: 'answer' | 'lost' | 'lead' }>): void {
    const to = this.#nodes.find(({ id }) => id === action.to) as SimNode
    if (!from.links.has(to)) return
    const codec = peerMessages[action.type].body as Codec<unknown>
    const isForgotten = this.#options.mutation === 'forgetful' && action.type === 'nameReport'
    const writer = new ByteWriter(256)
    codec.write(writer, isForgotten ? { ...action.body, names: [] } : action.body)
    const bytes = Buffer.from(writer.take())
    const session = this.#sessionOf(from, to)
    const { life } = to
    const arrive = (): void => {
      if (to.life !== life || !to.isUp || this.#sessionOf(from, to) !== session) return
      const body = codec.read(new ByteReader(bytes))
      const event = { type: action.type, from: from.id, body } as never
      if (isAnswer(action.type)) this.#book(to, event)
      else this.#direct(to, event)
    }
    if (from === to) {
      this.#after(0, arrive)
      return
    }
    const isLost = !this.#isCalm && this.#random() < 0.08
    if (!isLost) this.#after(1 + this.#random() * 30, arrive)
    if (!this.#isCalm && this.#random() < 0.08) this.#after(1 + this.#random() * 500, arrive)
  }

  // --- clients

  #onAnswer(node: SimNode, { client: id, requestId, answer }: Extract<BookAction, { type: 'answer' }>): void {
    const client = node.clients.find((each) => each.id === id)
    if (client === undefined) return
    const { outcome, holder } = answer
    if (outcome === 'found' || outcome === 'none' || requestId === 0) {
      client.finds--
      return
    }
    const actor = id + requestId.toString(16).padStart(12, '0')
    const name = client.waiting.get(actor)
    if (name === undefined) throw new Error(`seed ${this.#options.seed}: a claim was answered twice`)
    client.waiting.delete(actor)
    if (outcome === 'unavailable') this.unavailable++
    if (outcome === 'taken') this.taken++
    if (outcome !== 'given') return
    this.given++
    client.live.set(actor, holder[0] as NamedActor)
    this.#check()
  }

  #onLost(node: SimNode, { named, holder }: Extract<BookAction, { type: 'lost' }>): void {
    const client = node.clients.find(({ id }) => id === named.manager)
    if (client?.live.delete(named.actor) !== true) throw new Error(`${this.#options.seed}: a name was lost by nobody`)
    if (holder !== undefined && compareNamed(holder, named) >= 0) {
      throw new Error(`seed ${this.#options.seed}: the wrong one of two has lost its name`)
    }
    this.lost++
  }

  #doSomething(): void {
    const node = this.#pick(this.#nodes)
    const client = node.isUp ? this.#pick(node.clients) : undefined
    if (client === undefined) return
    const what = this.#random()
    if (what < 0.45) this.#claim(client)
    else if (what < 0.65) {
      client.finds++
      const name = this.#pick(names)
      this.#book(node, { type: 'find', client: client.id, requestId: 0, isId: false, namespace: '', name })
    } else if (what < 0.9) this.#release(client)
    else if (what < 0.95) {
      client.isGone = true
      node.clients = [...node.clients.filter((each) => each !== client), this.#addClient(node)]
      this.#book(node, { type: 'clientGone', client: client.id })
    }
  }

  #claim(client: SimClient): void {
    const requestId = ++this.#lastActor
    const actor = client.id + requestId.toString(16).padStart(12, '0')
    const name = this.#pick(names)
    client.waiting.set(actor, name)
    const hold = { actor, manager: client.id, epoch: 0, isReserve: false }
    const named = { namespace: '', name, ...hold, term: 0, description: '{}' }
    this.#book(client.node, { type: 'claim', requestId, named, handedBy: '' })
  }

  /** One of its actors ends, or one that waits for its name is wanted no more. */
  #release(client: SimClient): void {
    const actors = [...client.live.keys(), ...client.waiting.keys()]
    if (actors.length === 0) return
    const actor = this.#pick(actors)
    client.live.delete(actor)
    client.waiting.delete(actor)
    const hold = { actor, manager: client.id, epoch: 0, isReserve: false }
    this.#book(client.node, { type: 'release', hold, mayReturn: false })
  }

  #fault(): void {
    const what = this.#random()
    if (what < 0.2) {
      const [a, b] = [this.#pick(this.#nodes), this.#pick(this.#nodes)]
      if (a !== b) this.#relink(a, b)
      return
    }
    if (what < 0.5 || !this.#options.hasPartitions) {
      this.#elect(this.#side.get(this.#pick(this.#nodes)) ?? 0)
      return
    }
    const node = this.#pick(this.#nodes)
    if (what < 0.65) {
      if (node.isUp) this.#crash(node)
      else this.#boot(node)
      this.#after(this.#random() * 1000, () => this.#elect(this.#side.get(node) ?? 0))
    } else if (what < 0.82) {
      this.#move(this.#nodes.map(() => this.#below(2)))
    } else this.#move(this.#nodes.map(() => 0))
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

  // --- what must hold

  #holders(): Map<string, NamedActor[]> {
    const holders = new Map<string, NamedActor[]>()
    for (const { clients, isUp } of this.#nodes) {
      for (const { live } of isUp ? clients : []) {
        for (const named of live.values()) {
          const key = nameKey(named)
          holders.set(key, [...(holders.get(key) ?? []), named])
        }
      }
    }
    return holders
  }

  #check(): void {
    if (this.#options.hasPartitions && !this.#isCalm) return
    for (const [key, holders] of this.#holders()) {
      if (holders.length > 1) throw new Error(`seed ${this.#options.seed}: ${key} has ${holders.length} holders`)
    }
  }

  run(): void {
    this.clock.installed(() => {
      const endMs = 20_000
      const act = (): void => {
        if (this.clock.nowMs >= endMs) return
        this.#doSomething()
        this.#after(this.#random() * 40, act)
      }
      act()
      const fault = (): void => {
        if (this.clock.nowMs >= endMs) return
        this.#fault()
        this.#after(500 + this.#random() * 3000, fault)
      }
      this.#after(1500, fault)
      this.clock.run(endMs)
      this.#settle()
    })
  }

  /** The network is whole again, every node runs, and one of them is the head. */
  #settle(): void {
    for (const node of this.#nodes) if (!node.isUp) this.#boot(node)
    this.#move(this.#nodes.map(() => 0))
    this.clock.run(2500)
    this.#elect(0)
    this.clock.run(22_000)
    this.#isCalm = true
    this.#check()
    const { seed } = this.#options
    for (const { clients } of this.#nodes) {
      for (const { waiting, finds } of clients) {
        if (waiting.size > 0) throw new Error(`seed ${seed}: ${waiting.size} claims have no answer`)
        if (finds > 0) throw new Error(`seed ${seed}: ${finds} questions have no answer`)
      }
    }
    const live = [...this.#holders().values()].flat().map(({ actor }) => actor)
    const held = this.#nodes.flatMap(({ book }) => Array.from(book.held(), ({ actor }) => actor))
    const heads = this.#nodes.filter(({ id, obeys }) => obeys?.head === id)
    const known = heads.flatMap(({ directory }) => [...(directory?.names() ?? [])].map(({ actor }) => actor))
    if (heads.length !== 1) throw new Error(`seed ${seed}: ${heads.length} heads`)
    const [a, b, c] = [live, held, known].map((each) => each.toSorted().join(' '))
    if (a !== b) throw new Error(`seed ${seed}: live are ${a}, but nodes have ${b}`)
    if (b !== c) throw new Error(`seed ${seed}: nodes have ${b}, but the head has ${c}`)
  }
}

function pairOf(a: SimNode, b: SimNode): string {
  return a.index < b.index ? `${a.index} ${b.index}` : `${b.index} ${a.index}`
}

function isAnswer(type: string): boolean {
  return ['nameUnreported', 'nameReported', 'nameClaimed', 'nameFound', 'nameReleased', 'nameLost'].includes(type)
}
