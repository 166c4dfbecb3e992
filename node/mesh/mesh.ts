import type { EventReport } from '../../protocols/admin.ts'
import { ByteReader, ByteWriter } from '../../protocols/bytes.ts'
import { advert, type Advert } from '../../protocols/advert.ts'
import { MembershipError, ProtocolError } from '../../protocols/errors.ts'
import { nodeOf, type ClientId, type NodeId } from '../../protocols/ids.ts'
import { decodeBody, messageName, type MessageName } from '../../protocols/messages.ts'
import { mayAdmit, maySubmit } from '../../protocols/membership.ts'
import type { PeerMessageBody, PeerMessageHandlers } from '../../protocols/peer-messages.ts'
import type { Survey } from '../admin/survey.ts'
import type { BulkExchange } from '../bulk/bulk-exchange.ts'
import { holdersMax, type ObjectDirectory } from '../directory/object-directory.ts'
import type { ElectionRunner } from '../election/election-runner.ts'
import type { HeadOffice } from '../head/head-office.ts'
import type { ActorKeeper } from '../actors/actor-keeper.ts'
import type { NameDesk } from '../names/name-desk.ts'
import type { NameOffice } from '../names/name-office.ts'
import type { Membership } from '../membership/membership.ts'
import type { PeerLink, PeerNetwork } from '../network/network.ts'
import { RefusalLog } from '../network/refusal-log.ts'
import type { ClientTable } from '../server/client-table.ts'
import type { GroupDesk } from '../groups/group-desk.ts'
import type { LeaseDesk } from '../server/lease-desk.ts'
import type { Relay } from '../server/relay.ts'
import type { EventBook } from '../reports/event-book.ts'
import type { RemoteValues } from '../store/remote-values.ts'
import type { Replicas } from '../store/replicas.ts'
import type { Transfers } from '../transfer/transfers.ts'
import type { MeshView } from '../view/mesh-view.ts'
import type { OutputRelay } from '../workers/output-relay.ts'
import type { DueAdvert } from '../view/advert-source.ts'
import type { OwnState } from './own-state.ts'
import type { OutputFlush } from './output-flush.ts'
import { EndedClients } from './ended-clients.ts'
import type { PeerPost } from './peer-post.ts'
import type { LinkedClients } from './remote-clients.ts'
import { probeAddress } from './probe-address.ts'
import type { Questions } from './questions.ts'

export interface MeshParts {
  network: PeerNetwork
  membership: Membership
  post: PeerPost
  linked: LinkedClients
  view: MeshView
  election: ElectionRunner
  office: HeadOffice
  bulk: BulkExchange
  own: OwnState
  flush: OutputFlush
  questions: Questions
  /** Questions of the directory of objects: they may be many. */
  lookups: Questions
  survey: Survey
  events: EventBook
  clients: ClientTable
  leases: LeaseDesk
  groups: GroupDesk
  relay: Relay
  output: OutputRelay
  values: RemoteValues
  replicas: Replicas
  transfers: Transfers
  objects: ObjectDirectory
  names: NameDesk
  nameOffice: NameOffice
  keeper: ActorKeeper
  now(): number
  log(text: string): void
}

const tickMs = 1000
const sayAgainTicks = 5
/** Certificates end, and are renewed: both are looked at so often. */
const checkMs = 60_000

/**
 * What happens between this node and the others, handed to the part whose business it is: links that come and go, what
 * comes over them, elections, adverts.
 */
export class Mesh {
  readonly #parts: MeshParts
  readonly #refusals: RefusalLog
  readonly #ended = new EndedClients()
  #timer: NodeJS.Timeout | undefined
  #nextCheckAtMs = 0
  #ticks = 0
  #isLeaving = false

  constructor(parts: MeshParts) {
    this.#parts = parts
    this.#refusals = new RefusalLog(parts.log)
  }

  async open(): Promise<void> {
    const { network, post, bulk, election, own, leases, transfers } = this.#parts
    post.open({
      messages: this.#handlers(),
      relay: (node, frame) => this.#parts.relay.takeFromNode(node, frame),
      onClientGone: (node, client) => this.#onClientGone(node, client),
    })
    own.onPublish = (due) => this.#publish(due)
    leases.onChanged = () => own.touch()
    await network.open({
      onLinkUp: (link) => this.#onLinkUp(link),
      onLinkDown: (link, reason) => this.#onLinkDown(link, reason),
      onFrame: (link, frame) => post.receive(link, frame),
      onGossip: (from, data) => this.#onGossip(from, data),
      onBulk: (from, stream, purpose) => {
        if (purpose === 'exchange') bulk.serve(from, stream)
        else transfers.serve(from, stream)
      },
    })
    election.start()
    own.open()
    this.#timer = setInterval(() => this.#tick(), tickMs)
  }

  async close(): Promise<void> {
    const { network, election, own, post } = this.#parts
    clearInterval(this.#timer)
    own.close()
    await election.stop()
    for (const { peer } of network.links()) post.send(peer.node, 'leaving', { reason: 'it was stopped' })
    await network.close()
  }

  /** Ends the membership. The links stay until the node stops, so that it can say farewell over them. */
  async leave(end: () => Promise<void>): Promise<void> {
    this.#isLeaving = true
    try {
      await end()
    } catch (error) {
      this.#isLeaving = false
      throw error
    }
  }

  /** A client of this node has gone. */
  clientGone(client: ClientId): void {
    this.#ended.add(client)
    this.#parts.post.tellClientGone(client)
  }

  // --- links

  #onLinkUp(link: PeerLink): void {
    const { post, linked, view, leases, own, membership, objects, replicas, nameOffice, keeper, clients, now } =
      this.#parts
    const { node, name, version, role } = link.peer
    this.#say('link', `linked with ${name} (${node}, ${role}, shoal ${version})`, node)
    linked.linkUp(node)
    // Before anything else: what it says of itself, and what its clients say, is to be believed again.
    clients.sendToAll('nodeBack', { node })
    for (const client of this.#ended.linkUp(node)) post.tellClientGone(client, node)
    view.linkUp(node, now())
    objects.linkUp(node, link.peer.publicKey)
    nameOffice.nodeUp(node)
    this.#tellPeers()
    post.send(node, 'nodeState', { state: own.state() })
    post.send(node, 'revocations', { list: membership.revocationsEncoded() })
    leases.route({ type: 'linkUp', node })
    replicas.nodeUp(node)
    keeper.linkChanged(node, true)
    this.#tellHead()
  }

  #say(kind: EventReport['kind'], text: string, about: NodeId, level: EventReport['level'] = 'info'): void {
    this.#parts.log(text)
    this.#parts.events.say(kind, text, { about, level })
  }

  #onLinkDown(link: PeerLink, reason: string): void {
    const { linked, view, leases, office, values, objects, clients, flush, now } = this.#parts
    const { election, questions, lookups, names, nameOffice, keeper } = this.#parts
    const { node, name } = link.peer
    this.#say('link', `the link with ${name} (${node}) is down: ${reason}`, node, 'warning')
    const gone = linked.linkDown(node)
    this.#ended.linkDown(node)
    view.linkDown(node, now())
    names.linkDown(node)
    nameOffice.nodeDown(node)
    this.#tellPeers()
    // What the office forgets of the node the election is to ask for again.
    office.onLinkDown(node)
    election.linkDown(node)
    flush.onLinkDown(node)
    questions.onLinkDown(node)
    lookups.onLinkDown(node)
    leases.nodeGone(node, gone, reason)
    objects.linkDown(node)
    values.nodeGone(node)
    keeper.watchersGone((client) => this.#isOf(node, client))
    keeper.linkChanged(node, false)
    clients.sendToAll('nodeGone', { node, reason })
  }

  #tellPeers(): void {
    const { network, election } = this.#parts
    election.setPeers(Array.from(network.links(), ({ peer }) => peer.node))
  }

  // --- the head

  /** The head has changed, or the link to it has come up. */
  headChanged(): void {
    this.#tellHead()
    this.#parts.own.tellAgain()
  }

  #tellHead(): void {
    const { leases, names, election } = this.#parts
    const head = this.reachableHead
    leases.route({ type: 'headChanged', head })
    names.headChanged(head === undefined ? undefined : election.term)
  }

  get reachableHead(): NodeId | undefined {
    const { election, network } = this.#parts
    const { head } = election
    return head === network.self || (head !== undefined && network.link(head) !== undefined) ? head : undefined
  }

  /** The state of this node has changed, or it is time to say again that it has not. */
  #publish({ advert: state, isForAll }: DueAdvert): void {
    const { network, post, view, office, now } = this.#parts
    view.apply(state, now(), 'direct')
    const head = this.reachableHead
    // What comes back from here would be known already, and not get to the office.
    if (head === network.self) office.onState(state)
    else if (head !== undefined) post.send(head, 'nodeState', { state })
    if (!isForAll) return
    const writer = new ByteWriter(512)
    advert.write(writer, state)
    network.publish(writer.take())
  }

  #onGossip(from: NodeId, data: Uint8Array): void {
    try {
      const state = advert.read(new ByteReader(Buffer.from(data.buffer, data.byteOffset, data.byteLength)))
      if (state.node === from) this.#onState(state, 'gossip')
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#refusals.say(from, `gossip of ${from} refused: ${error.message}`)
    }
  }

  #onState(state: Advert, source: 'gossip' | 'direct'): void {
    const { view, office, replicas, now } = this.#parts
    const before = view.get(state.node)
    if (!view.apply(state, now(), source)) return
    office.onState(state)
    if (before === undefined || (state.isOpen && !before.isOpen)) replicas.nodeUp(state.node)
  }

  #tick(): void {
    const { view, network, membership, leases, now } = this.#parts
    if (++this.#ticks % sayAgainTicks === 0) leases.sayGrantsAgain()
    for (const { type, node } of view.tick(now())) this.#say('node', `node ${node} is ${type}`, node, 'warning')
    if (this.#isLeaving || now() < this.#nextCheckAtMs) return
    this.#nextCheckAtMs = now() + checkMs
    network.recheck()
    if (membership.renewalDue(Date.now())) void this.#renew()
  }

  /** Has this node's own membership renewed, by itself or by the next admin. */
  async #renew(): Promise<void> {
    const { membership, network, questions, log } = this.#parts
    try {
      if (membership.holdsRoot) {
        await membership.renewOwn(Date.now())
        return
      }
    } catch (error) {
      log(`the membership of this node could not be renewed: ${(error as Error).message}`)
    }
    // An admin can give no longer than it has itself, so it may take several to find one that helps.
    const admins = [...network.links()].map(({ peer }) => peer).filter(({ role }) => mayAdmit(role))
    for (const { node } of admins) {
      try {
        const reply = await questions.ask<PeerMessageBody<'renewReply'>>(node, (post, askId) =>
          post.send(node, 'renewAsk', { askId, credentials: membership.credentials() }),
        )
        if (reply.refused !== '') throw new MembershipError(reply.refused)
        await membership.acceptRenewed(reply.credentials)
        return
      } catch (error) {
        log(`node ${node} has not renewed the membership of this node: ${(error as Error).message}`)
      }
    }
    log('the membership of this node is to be renewed, and no admin in reach has done it')
  }

  #onRenewAsk(from: NodeId, askId: number, credentials: Uint8Array): void {
    const { membership, network, post } = this.#parts
    const publicKey = network.link(from)?.peer.publicKey
    if (publicKey === undefined) return
    let renewed: Uint8Array = new Uint8Array()
    let refused = ''
    try {
      renewed = membership.reissue(credentials, publicKey, Date.now())
    } catch (error) {
      refused = (error as Error).message
    }
    post.send(from, 'renewReply', { askId, credentials: renewed, refused })
  }

  /** Tries whether the addresses of a node can be reached from here, for its `shoal doctor`. */
  async #onDialBackAsk(from: NodeId, { askId, addresses }: PeerMessageBody<'dialBackAsk'>): Promise<void> {
    const { post } = this.#parts
    const results = await Promise.all(addresses.map((address) => probeAddress(address)))
    post.send(from, 'dialBackReply', { askId, clockMs: Date.now(), results })
  }

  // --- messages

  #handlers(): PeerMessageHandlers {
    const { leases, groups, office, election, view, values, replicas, objects } = this.#parts
    const { questions, lookups, survey, membership, network, clients, post, log } = this.#parts
    const { names, nameOffice, keeper } = this.#parts
    return {
      election: (from, { message }) => election.onMessage(from, message),
      toClient: (from, { client, frame }) => this.#toClient(from, client, frame),
      fromClient: (from, { client, frame }) => this.#fromClient(from, client, frame),
      leaseAsk: (from, body) => leases.ask(from, body),
      leaseAskCancel: (from, key) => {
        if (this.#isOf(from, key.client)) leases.cancelAsk(key)
      },
      leaseAskRefuse: (from, { client, requestId, error, message, details, state }) => {
        if (state.node === from) this.#onState(state, 'direct')
        const refusal = { error, message, details: details as Record<string, unknown> }
        leases.route({ type: 'remoteRefused', node: from, client, requestId, refusal })
      },
      nodeState: (from, { state }) => {
        if (state.node === from) this.#onState(state, 'direct')
      },
      demandAdd: (from, body) => office.onDemandAdd(from, body),
      demandRemove: (from, body) => office.onDemandRemove(from, body),
      demandRefused: (from, body) => office.onDemandRefused(from, body),
      demandPlace: (from, { client, requestId, term, node, mayWait }) => {
        if (this.obeys(from, term)) leases.route({ type: 'placed', client, requestId, node, mayWait })
      },
      demandInfeasible: (from, { client, requestId, term, reason, details }) => {
        if (!this.obeys(from, term)) return
        leases.route({ type: 'infeasible', client, requestId, reason, details: details as Record<string, unknown> })
      },
      demandFeasible: (from, { client, requestId, term }) => {
        if (this.obeys(from, term)) leases.route({ type: 'feasible', client, requestId })
      },
      commandRefused: (from, { fence }) => {
        log(`node ${from} does not obey: it has accepted term ${fence.counter} of ${fence.head}`)
      },
      explainAsk: (from, { askId, client, requestId }) => {
        post.send(from, 'explainReply', { askId, explained: office.explain(client, requestId) ?? [] })
      },
      explainReply: (from, { askId, explained }) => questions.onAnswer(from, askId, explained),
      surveyAsk: (from, { askId, name, args }) => {
        const asker = network.link(from)?.peer
        if (asker === undefined) return
        void survey.answer(name, args, asker).then((answer) => post.send(from, 'surveyReply', { askId, answer }))
      },
      surveyReply: (from, { askId, answer }) => questions.onAnswer(from, askId, answer),
      revocations: (from, { list }) => {
        const isNew = membership.mergeRevocations(list)
        if (!isNew) return
        log(`revocations from ${from}`)
        network.recheck()
        this.tellRevocations(from)
      },
      renewAsk: (from, { askId, credentials }) => this.#onRenewAsk(from, askId, credentials),
      renewReply: (from, body) => questions.onAnswer(from, body.askId, body),
      leaving: (from, { reason }) => {
        this.#say('node', `node ${from} leaves: ${reason}`, from)
        view.remove(from)
      },
      dialBackAsk: (from, body) => void this.#onDialBackAsk(from, body),
      dialBackReply: (from, body) => questions.onAnswer(from, body.askId, body),
      storedFree: (from, { names: freed }) => values.freedElsewhere(from, freed),
      copyForgotten: (from, { name }) => values.forgottenElsewhere(from, name),
      evacuateAsk: (from, { askId, values: leaving }) => {
        const [there, gone] = partition(leaving, ({ owner }) => clients.get(owner) !== undefined)
        const problem = 'the process that owns it is gone'
        const standings = [
          ...replicas.evacuate(from, network.self, there),
          ...gone.map(({ name }) => ({ name, standing: 'nowhere' as const, problem })),
        ]
        post.send(from, 'evacuateReply', { askId, standings })
      },
      evacuateReply: (from, { askId, standings }) => questions.onAnswer(from, askId, standings),
      replicaAsk: (from, body) => replicas.onAsk(from, body),
      replicaAnswer: (from, body) => replicas.onAnswer(from, body),
      provide: (from, batch) => objects.onProvide(from, batch),
      ...groups.handlers(),
      groupsAsk: (from, { askId, isAnswer, groups: told }) => {
        if (isAnswer) questions.onAnswer(from, askId, told)
        else post.send(from, 'groupsAsk', { askId, isAnswer: true, groups: groups.ownReports() })
      },
      holdersAsk: (from, { askId, key }) => {
        post.send(from, 'holdersReply', { askId, nodes: objects.holdersOf(key).slice(0, holdersMax) })
      },
      holdersReply: (from, { askId, nodes }) => lookups.onAnswer(from, askId, nodes),
      ...nameOffice.handlers(),
      ...names.handlers(),
      ...keeper.handlers(),
    }
  }

  /** Passes the list of revocations on to all but the one from whom it came. */
  tellRevocations(except?: NodeId): void {
    const { network, post, membership } = this.#parts
    for (const { peer } of network.links()) {
      if (peer.node !== except) post.send(peer.node, 'revocations', { list: membership.revocationsEncoded() })
    }
  }

  /** True when a command is one of the head that this node obeys; if not, the sender is told. */
  obeys(from: NodeId, term: PeerMessageBody<'demandPlace'>['term']): boolean {
    const { election, post } = this.#parts
    if (election.mayObey(from, term)) return true
    const { fence } = election
    if (fence !== undefined) post.send(from, 'commandRefused', { fence })
    return false
  }

  #isOf(node: NodeId, client: ClientId): boolean {
    return nodeOf(client) === node
  }

  #onClientGone(node: NodeId, client: ClientId): void {
    if (!this.#isOf(node, client)) throw new ProtocolError('a node says that a client of another node has gone')
    const { linked, leases, clients, values, keeper } = this.#parts
    leases.clientGone(client)
    linked.remove(client)
    values.ownerGone(client)
    keeper.watchersGone((each) => each === client)
    clients.sendToAll('clientGone', { client })
  }

  /** Another node has something to say to a client of this one. */
  #toClient(from: NodeId, id: ClientId, frame: Uint8Array): void {
    const { leases, clients, values, flush } = this.#parts
    const [name, body] = unpack(frame)
    switch (name) {
      case 'leaseGrant':
        return leases.granted(from, id, decodeBody(name, body))
      case 'leaseReclaim':
      case 'leaseLost':
      case 'leaseBlocked':
        return leases.onRemote(from, name, decodeBody(name, body))
      case 'logFlushed':
        return flush.onFlushed(from, decodeBody(name, body).requestId)
      case 'log': {
        const client = clients.get(id)
        if (client?.wantsLogs === true) client.send('log', decodeBody(name, body))
        return
      }
      case 'undeliverable':
        return clients.get(id)?.send('undeliverable', decodeBody(name, body))
      case 'actorState': {
        // Of a detached actor, which that node leads.
        const state = decodeBody(name, body)
        if (!this.#isOf(from, state.from)) throw new ProtocolError('a node tells of an actor that another one leads')
        return clients.get(id)?.send('actorState', state)
      }
      case 'valuesLeft': {
        const left = decodeBody(name, body)
        values.heldBy(from, left.names)
        return clients.get(id)?.send('valuesLeft', left)
      }
      default:
        throw new ProtocolError(`a node may not send ${name} to a client`)
    }
  }

  /** A client of another node has something to say to this node. */
  #fromClient(from: NodeId, id: ClientId, frame: Uint8Array): void {
    const { leases, linked, output } = this.#parts
    const client = this.#isOf(from, id) ? linked.get(id) : undefined
    if (client === undefined) throw new ProtocolError('a node speaks for a client that is not its own')
    const [name, body] = unpack(frame)
    switch (name) {
      case 'leaseReturn':
        return leases.giveBack(client, decodeBody(name, body).leaseId)
      case 'leaseKill': {
        const { leaseId, reason } = decodeBody(name, body)
        return leases.kill(client, leaseId, reason)
      }
      case 'logFlush': {
        const { requestId } = decodeBody(name, body)
        void output.flush().then(() => client.send('logFlushed', { requestId }))
        return
      }
      default:
        throw new ProtocolError(`a client may not send ${name} to another node`)
    }
  }
}

function partition<T>(items: readonly T[], isFirst: (item: T) => boolean): [T[], T[]] {
  const first: T[] = []
  const second: T[] = []
  for (const item of items) (isFirst(item) ? first : second).push(item)
  return [first, second]
}

function unpack(frame: Uint8Array): [MessageName, Buffer] {
  const name = messageName(frame[0] ?? 0)
  if (name === undefined) throw new ProtocolError('a packed message is of no known type')
  return [name, Buffer.from(frame.buffer, frame.byteOffset + 1, frame.byteLength - 1)]
}

/** Why a node may not submit work; undefined when it may. */
export function whyMayNotSubmit(peer: { name: string; role: Parameters<typeof maySubmit>[0] }): string | undefined {
  if (maySubmit(peer.role)) return undefined
  return `${peer.name} is a member of this mesh as a ${peer.role}: it runs tasks of others and cannot submit any; join it with a token for submitters (\`shoal token create --role submitter\`)`
}
