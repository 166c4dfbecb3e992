import { ByteReader, ByteWriter } from '../../protocols/bytes.ts'
import { advert, type Advert } from '../../protocols/advert.ts'
import type { ClientId, NodeId, ObjectId } from '../../protocols/ids.ts'
import { mayOffer } from '../../protocols/membership.ts'
import type { GroupReport } from '../../protocols/placement-groups.ts'
import { maySubmit } from '../../protocols/membership.ts'
import type { ResourceSet } from '../../protocols/resources.ts'
import type { Labels } from '../../protocols/scheduling.ts'
import { BootClock } from '../clock/boot-clock.ts'
import { RemoteBlobs } from '../code/remote-blobs.ts'
import type { DrainHost } from '../drain/drain.ts'
import type { BlobCache } from '../code/blob-cache.ts'
import { keyOfObject, ObjectDirectory, type DirectoryFigures } from '../directory/object-directory.ts'
import { ElectionRunner } from '../election/election-runner.ts'
import { FenceFile } from '../election/fence-file.ts'
import type { GroupDesk } from '../groups/group-desk.ts'
import { HeadOffice } from '../head/head-office.ts'
import type { ActorKeeper } from '../actors/actor-keeper.ts'
import type { NameDesk } from '../names/name-desk.ts'
import { NameOffice } from '../names/name-office.ts'
import { whyNever } from '../scheduler/why-never.ts'
import type { LeaseBook } from '../leases/lease-book.ts'
import type { NodeResources } from '../resources/detect.ts'
import type { LeaseRouter } from '../routing/lease-router.ts'
import type { EventBook } from '../reports/event-book.ts'
import type { ClientDirectory } from '../server/client-directory.ts'
import type { ClientTable } from '../server/client-table.ts'
import type { LeaseDesk } from '../server/lease-desk.ts'
import type { Relay } from '../server/relay.ts'
import type { Elsewhere } from '../server/requests.ts'
import { openNearValue } from '../store/near-value.ts'
import type { PinTables } from '../store/pin-tables.ts'
import { RemoteValues } from '../store/remote-values.ts'
import type { ReplicaPlace } from '../store/replica-book.ts'
import { Replicas } from '../store/replicas.ts'
import { Transfers, type TransferFigures } from '../transfer/transfers.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { machineMark } from '../system/machine-mark.ts'
import { MeshView } from '../view/mesh-view.ts'
import type { OutputRelay } from '../workers/output-relay.ts'
import { Explainer } from '../admin/explainer.ts'
import { MeshAdmin } from '../admin/mesh-admin.ts'
import type { Survey } from '../admin/survey.ts'
import { Mesh, whyMayNotSubmit } from './mesh.ts'
import type { MeshGround } from './mesh-ground.ts'
import type { Neighbours } from './neighbours.ts'
import { OutputFlush } from './output-flush.ts'
import { OwnState } from './own-state.ts'
import { Questions } from './questions.ts'

export interface MeshWork {
  book: LeaseBook
  router: LeaseRouter
  leases: LeaseDesk
  groups: GroupDesk
  relay: Relay
  clients: ClientTable
  directory: Pick<ClientDirectory, 'isGone' | 'get'>
  output: OutputRelay
  store: ObjectStore
  pinTables: PinTables
  blobs: BlobCache
  machine: NodeResources
  neighbours: Neighbours
  names: NameDesk
  keeper: ActorKeeper
  survey: Survey
  events: EventBook
  labels: Labels
  storeDirectory: string
  /** Values of other nodes of this machine are read from their memory. */
  handOver: boolean
  startedAtMs: number
  now(): number
  log(text: string): void
  /** The node has left the mesh: it is to stop. */
  onLeft(): void
}

const firstLinkMs = 2000

/** A node's place in its mesh, for those who start it. */
export interface MeshPlace {
  readonly meshName: string
  readonly addresses: readonly string[]
  /** A line to type on another machine; undefined when this node lets nobody in. */
  makeToken(): Promise<string | undefined>
}

/** What goes on between this node and others, in figures. */
export interface MeshFigures {
  readonly transfers: TransferFigures
  readonly directory: DirectoryFigures
}

/** Everything that a node does with others, behind few doors. */
export interface BuiltMesh {
  readonly admin: MeshAdmin
  readonly elsewhere: Elsewhere
  readonly place: MeshPlace
  figures(): MeshFigures
  /** Has the node of their owners see to it that these values of this one are elsewhere, too. */
  evacuate: DrainHost['evacuate']
  open(): Promise<void>
  close(): Promise<void>
  clientGone(client: ClientId): void
  /**
   * Other nodes that a link leads to, but for those that are only there for a program: those first that may submit work, and
   * that are up longest.
   */
  lastingNodes(): NodeId[]
}

/** Builds the node's side of the mesh, each part after those that it needs. */
export function buildMesh(ground: MeshGround, work: MeshWork): BuiltMesh {
  const { membership, network, post, linked, bulk, name, stateDirectory } = ground
  const { book, store, blobs, machine, labels, startedAtMs, storeDirectory, now, log } = work
  const self: NodeId = network.self
  const clock = new BootClock()
  const view = new MeshView(self)
  const lookups = new Questions(post)
  const objects = new ObjectDirectory({
    self,
    publicKey: membership.identity.publicKey,
    kademlia: network.kademlia,
    send: ({ to, adds, removes }) => void post.send(to, 'provide', { adds: [...adds], removes: [...removes] }),
    ask: (node, key, signal) =>
      lookups.ask<readonly NodeId[]>(node, (to, askId) => to.send(node, 'holdersAsk', { askId, key }), { signal }),
    isLinkedToAll: () => view.isLinkedToAll,
    now,
  })
  const keysOf = (value: string, object: ObjectId): string[] => (object === '' ? [value] : [value, keyOfObject(object)])
  store.onStored = (value, object) => objects.provide(keysOf(value, object))
  store.onGone = (value, object) => objects.withdraw(keysOf(value, object))
  const mark = work.handOver && store.segment !== undefined ? machineMark() : ''
  const transfers = new Transfers({
    self,
    network,
    store,
    near: mark === '' ? undefined : { mark, open: openNearValue },
    locate: (value, signal) => objects.find(value, { signal }),
    isLinked: (node) => network.link(node) !== undefined,
    onAsked: (node, value) => values.asked(node, value),
    holders: (value) => replicas.holdersOf(value),
    random: Math.random,
    now,
    log,
  })
  const replicas: Replicas = new Replicas({
    store,
    transfers,
    places: () => replicaPlaces(self, { store, view, isClosed: work.book.isClosed }),
    ask: (node, body) => void post.send(node, 'replicaAsk', body),
    answer: (node, body) => void post.send(node, 'replicaAnswer', body),
    free: (node, names) => void post.send(node, 'storedFree', { names }),
    isClosed: () => work.book.isClosed,
    log,
  })
  const values: RemoteValues = new RemoteValues({
    self,
    store,
    transfers,
    replicas,
    send: (node, names) => void post.send(node, 'storedFree', { names }),
    forget: (node, value) => void post.send(node, 'copyForgotten', { name: value }),
    tellOwner: (owner, names) => work.directory.get(owner)?.send('valuesLeft', { names }),
    isThere: (client) => !work.directory.isGone(client),
    linked: () => Array.from(network.links(), ({ peer }) => peer.node),
  })
  const remoteBlobs = new RemoteBlobs({ self, blobs, bulk, log })
  const own = new OwnState({
    node: self,
    name,
    role: membership.role,
    labels,
    startedAtMs,
    machine,
    book,
    store,
    now,
    addresses: () => network.addresses,
    others: () => view,
  })
  const flush = new OutputFlush(post)
  const questions = new Questions(post)
  const office = new HeadOffice({ post, groups: work.groups.office, now, log })
  const nameOffice = new NameOffice({ post, now })
  work.names.open(post)
  work.keeper.join(post)
  const encodedState = (): Uint8Array => {
    const writer = new ByteWriter(512)
    advert.write(writer, own.state())
    return writer.take()
  }
  const election = new ElectionRunner({
    self,
    // Who only submits may leave at any time, so others come first.
    rank: { kind: membership.role === 'submitter' ? 1 : 0, startedAtMs },
    fence: new FenceFile(stateDirectory),
    nowMs: () => clock.nowMs(),
    random: Math.random,
    send: (to, message) => void post.send(to, 'election', { message }),
    report: encodedState,
    onStartActing: (term) => {
      office.start(term)
      office.onReported(own.state())
      nameOffice.start(term, [self, ...Array.from(network.links(), ({ peer }) => peer.node)])
    },
    onStopActing: (_, reason) => {
      office.stop(reason)
      nameOffice.stop()
    },
    onHeadChanged: (head, term) => {
      if (head === undefined) work.events.say('head', 'this node follows no head', { level: 'warning' })
      else {
        const who = head === self ? 'this node is head' : `${view.get(head)?.name ?? 'a node'} (${head}) is head`
        work.events.say('head', `${who}${term === undefined ? '' : `, term ${term.counter}`}`, { about: head })
      }
      mesh.headChanged()
    },
    onReported: (node, _, report) => {
      const state = advert.read(new ByteReader(Buffer.from(report)))
      if (state.node !== node) return
      view.apply(state, now(), 'direct')
      office.onReported(state)
    },
    log,
  })
  const mesh: Mesh = new Mesh({
    ...work,
    network,
    membership,
    post,
    linked,
    view,
    election,
    office,
    nameOffice,
    bulk,
    own,
    flush,
    questions,
    lookups,
    values,
    replicas,
    transfers,
    objects,
  })
  work.neighbours.open({
    post,
    state: () => own.state(),
    stateOf: (node) => (node === self ? own.state() : view.get(node)),
    nodesAble(resources) {
      const others = view
        .nodes()
        .flatMap(({ advert: state, isLinked }) => (isLinked && state.node !== self ? [state] : []))
      return [own.state(), ...others].filter((state) => isAble(state, resources)).length
    },
    whyMayNotSubmit: (node) => {
      if (node === self) return whyMayNotSubmit({ name: 'this node', role: membership.role })
      const peer = network.link(node)?.peer
      return peer === undefined ? `there is no link to node ${node}, whose work it is` : whyMayNotSubmit(peer)
    },
  })
  work.groups.openMesh({
    send: (to, groupMessage, body) => post.send(to, groupMessage, body),
    obeys: (from, term) => mesh.obeys(from, term),
    isOpen: mayOffer(membership.role),
    others: () => groupsOfOthers(network, questions),
  })
  work.survey.open({
    others: () =>
      view.nodes().flatMap(({ advert: { node, name: other }, isLinked }) => {
        return node === self ? [] : [{ node, name: other, isLinked }]
      }),
    ask: (node, call, args) =>
      questions.ask(node, (_, askId) => post.send(node, 'surveyAsk', { askId, name: call, args })),
  })
  const explainer = new Explainer({
    self,
    router: work.router,
    groups: work.groups,
    office,
    questions,
    view,
    head: () => mesh.reachableHead,
    now,
  })
  const admin = new MeshAdmin({
    ground,
    mesh,
    view,
    election,
    questions,
    own,
    explainer,
    directory: objects,
    store: () => ({ directory: storeDirectory, usedBytes: store.usedBytes, bytesMax: store.bytesMax }),
    now,
    onLeft: () => work.onLeft(),
  })
  return {
    admin,
    elsewhere: {
      waitForBlobs: (hashes, node) => remoteBlobs.wait(hashes, node),
      fetchStored: (value, signal) => values.fetch(value, signal),
      replicateStored: (value) => replicas.keep(value),
      freeStored: (names) => values.freed(names),
      flushOutput: (job) => flush.flush(job, network.links()),
    },
    place: {
      meshName: membership.meshName,
      get addresses() {
        return network.addresses
      },
      makeToken: () => admin.makeFirstToken(),
    },
    evacuate: (node, leaving) =>
      questions.ask(node, (_, askId) => post.send(node, 'evacuateAsk', { askId, values: leaving })),
    figures: () => ({ transfers: transfers.figures(), directory: objects.figures() }),
    async open() {
      await mesh.open()
      if (ground.contacts.length > 0) await firstLink(ground)
    },
    async close() {
      office.stop('the node stops')
      nameOffice.stop()
      transfers.close()
      objects.close()
      await mesh.close()
      await membership.settled()
    },
    lastingNodes: () =>
      view
        .nodes()
        .filter(({ advert: state, isLinked }) => isLinked && state.node !== self && state.role !== 'submitter')
        .toSorted(
          ({ advert: a }, { advert: b }) =>
            Number(maySubmit(b.role)) - Number(maySubmit(a.role)) || a.startedAtMs - b.startedAtMs,
        )
        .map(({ advert: state }) => state.node),
    clientGone: (client) => {
      replicas.ownerGone(client)
      mesh.clientGone(client)
    },
  }
}

/** Waits for the first link of a node that has just joined, so that what it says of the mesh is so from the beginning. */
async function firstLink({ network, contacts }: MeshGround): Promise<void> {
  const tries = contacts.map((address) => network.connect(address, { timeoutMs: firstLinkMs }))
  // Without a link the node goes on looking for one, and says so when it is asked.
  await Promise.any(tries).catch(() => undefined)
}

/** The placement groups of the programs of other nodes; of those that answer. */
async function groupsOfOthers(network: MeshGround['network'], questions: Questions): Promise<GroupReport[]> {
  const asked = Array.from(network.links(), ({ peer: { node } }) =>
    questions
      .ask<GroupReport[]>(node, (post, askId) => post.send(node, 'groupsAsk', { askId, isAnswer: false, groups: [] }))
      .catch((): GroupReport[] => []),
  )
  return (await Promise.all(asked)).flatMap((reports) => (Array.isArray(reports) ? reports : []))
}

/** Whether a node could run what needs these resources, once it is free. */
function isAble(state: Advert, resources: ResourceSet): boolean {
  return state.isOpen && whyNever(state, resources) === undefined
}

/** This node, and those that a link leads to, with the room in their stores. */
function replicaPlaces(
  self: NodeId,
  { store, view, isClosed }: { store: ObjectStore; view: MeshView; isClosed: boolean },
): ReplicaPlace[] {
  const { bytesMax, usedBytes } = store
  const places: ReplicaPlace[] = isClosed
    ? []
    : [{ node: self, bytesMax, freeBytes: bytesMax - usedBytes, isLasting: true }]
  for (const { advert: state, isLinked } of view.nodes()) {
    if (!isLinked || state.node === self) continue
    const { node, role, store: there, isOpen } = state
    // It is about to go.
    if (!isOpen && mayOffer(role)) continue
    const freeBytes = there.bytesMax - there.usedBytes
    places.push({ node, bytesMax: there.bytesMax, freeBytes, isLasting: role !== 'submitter' })
  }
  return places
}
