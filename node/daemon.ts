import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ClientId, NodeId } from '../protocols/ids.ts'
import { shoalVersion } from '../protocols/version.ts'
import { ActorKeeper } from './actors/actor-keeper.ts'
import { isNodeCall, isSurveyCall, type DrainReport, type NodeLogArgs, type NodeLogPart } from '../protocols/admin.ts'
import type { GpuAdvert } from '../protocols/advert.ts'
import { UnreachableError } from '../protocols/errors.ts'
import { answerAdmin, type AdminCallee } from './admin/admin-desk.ts'
import { isLocalCall, isLoneCall, LocalAdmin } from './admin/local-admin.ts'
import { Survey } from './admin/survey.ts'
import { Drain, type DrainHost } from './drain/drain.ts'
import { drainHost } from './drain/drain-host.ts'
import { BlobCache } from './code/blob-cache.ts'
import { cacheDirectory, compileCacheDirectory } from './home/compile-cache.ts'
import { GroupDesk } from './groups/group-desk.ts'
import { cleanUpAfterDeadNode, refuseSecondNode } from './home/clean-up.ts'
import { DaemonLog } from './home/daemon-log.ts'
import { writeNodeFile } from './home/node-file.ts'
import { nodePlaces, prepareRuntimeDirectory } from './home/runtime-directory.ts'
import { isAlive, takeStartLock } from './home/start-lock.ts'
import { LeaseBook } from './leases/lease-book.ts'
import { memoryReader, systemKills } from './memory/memory-use.ts'
import { MemoryWatch } from './memory/memory-watch.ts'
import { buildMesh, type MeshPlace } from './mesh/build-mesh.ts'
import { prepareMesh, wantsMesh } from './mesh/mesh-ground.ts'
import { noLinks, nowhereElse } from './mesh/no-mesh.ts'
import { gpuAdverts } from './mesh/own-state.ts'
import { Neighbours } from './mesh/neighbours.ts'
import { NameDesk } from './names/name-desk.ts'
import { resourceOptions, type NodeOptions } from './options.ts'
import { detectResources, type NodeResources } from './resources/detect.ts'
import { actorsReport } from './reports/actors-report.ts'
import { EventBook } from './reports/event-book.ts'
import { OutputBook } from './reports/output-book.ts'
import { TaskBook } from './reports/task-book.ts'
import { tasksReport } from './reports/tasks-report.ts'
import { LeaseRouter } from './routing/lease-router.ts'
import type { Client } from './server/client.ts'
import { ClientDirectory } from './server/client-directory.ts'
import { ClientQuestions } from './server/client-questions.ts'
import { ClientTable } from './server/client-table.ts'
import { LeaseDesk } from './server/lease-desk.ts'
import { Lobby } from './server/lobby.ts'
import { Reception } from './server/reception.ts'
import { Relay } from './server/relay.ts'
import { Requests } from './server/requests.ts'
import { SocketServer } from './server/socket-server.ts'
import { StoreDesk } from './server/store-desk.ts'
import { nodeStatus } from './status.ts'
import { ObjectStore } from './store/object-store.ts'
import { PinTables } from './store/pin-tables.ts'
import { SpillFiles } from './store/spill-files.ts'
import { makeCodeDirectory, makeStoreGround, type StoreGround } from './store/store-directory.ts'
import { Guardian } from './workers/guardian.ts'
import { OutputRelay } from './workers/output-relay.ts'
import { WorkerPool } from './workers/worker-pool.ts'
import { WorkerProgram } from './workers/worker-program.ts'

/** A running node. */
export interface Daemon {
  readonly nodeId: NodeId
  /** What others need to know of its place in the mesh; undefined for a node on its own. */
  readonly place: MeshPlace | undefined
  readonly runtimeDirectory: string
  readonly socketPath: string
  readonly machine: NodeResources
  readonly store: StoreGround
  /** Fulfilled when a client has asked the node to stop; who started it closes it then. */
  readonly stopAsked: Promise<void>
  log(text: string): void
  /** Ends every connection and every worker, and removes all that the node has made. */
  close(): Promise<void>
}

/** In the repository this file is TypeScript and so is the worker; in the package both are JavaScript. */
const workerEntry = fileURLToPath(new URL(`../sdk/worker/main${path.extname(import.meta.url)}`, import.meta.url))
const now = (): number => performance.now()

/** Builds the node, each part after those that it needs. They end in the opposite order. */
export async function startDaemon(options: NodeOptions = {}, joinToken = options.join): Promise<Daemon> {
  await using parts = new AsyncDisposableStack()
  const startedAt = new Date()
  const token = randomBytes(8).toString('hex')
  const isEmbedded = options.embedded ?? false
  const places = nodePlaces(options.runtimeDirectory)
  const { runtimeDirectory, socketPath } = places
  prepareRuntimeDirectory(places)
  const releaseStart = await takeStartLock(runtimeDirectory)
  await using starting = new AsyncDisposableStack()
  starting.defer(releaseStart)
  await refuseSecondNode(places)
  await cleanUpAfterDeadNode(places)

  // What is on disk. The guardian comes first of all that can be left behind, so that it ends last.
  const diary = parts.adopt(new DaemonLog(runtimeDirectory), (each) => each.close())
  const log = (text: string): void => diary.write(text)
  const ground = await makeStoreGround(runtimeDirectory, options)
  const codeDirectory = makeCodeDirectory(runtimeDirectory, token)
  const { directory: storeDirectory, spillDirectory } = ground
  const directories = [storeDirectory, spillDirectory, codeDirectory].filter((each) => each !== '')
  parts.defer(() => {
    // The guardian has done this already, unless it is gone.
    for (const directory of directories) rmSync(directory, { recursive: true, force: true })
  })
  const guarded = { runtimeDirectory, token, embedded: isEmbedded, directories }
  const guardian = parts.adopt(new Guardian(guarded, log), (each) => each.close())

  // The socket, so that others see that there is a node now. It waits with its answers.
  const server = new SocketServer()
  await server.listen(socketPath)
  parts.defer(() => server.close())
  const home = { socketPath, storeDirectory, spillDirectory, codeDirectory, guardianPid: guardian.pid }
  writeNodeFile(runtimeDirectory, {
    pid: process.pid,
    token,
    version: shoalVersion,
    startedAt: startedAt.toISOString(),
    ...home,
  })
  await starting.disposeAsync()

  // What there is to lease, and who this node is among others.
  const [machine, meshGround] = await Promise.all([
    detectResources(resourceOptions(options)),
    wantsMesh(options) ? prepareMesh(options, { token: joinToken, log }) : undefined,
  ])
  if (meshGround !== undefined) parts.defer(() => meshGround.close())
  const nodeId = meshGround?.network.self ?? token
  const clients = new ClientTable(nodeId)
  const directory = new ClientDirectory(nodeId, clients, meshGround?.linked)

  const events = new EventBook(Date.now)

  // The workers.
  const outputBook = new OutputBook(Date.now)
  const output = new OutputRelay(directory, outputBook, log)
  const workerProgram = new WorkerProgram({
    entry: options.workerEntry ?? workerEntry,
    cacheDirectory: options.workerEntry === undefined ? cacheDirectory('worker') : undefined,
    log,
  })
  void workerProgram.prepare()
  const pool = new WorkerPool({
    program: workerProgram,
    socketPath,
    compileCacheDirectory: compileCacheDirectory(),
    startMs: options.workerStartMs ?? 30_000,
    gpuVendor: machine.gpus[0]?.vendor,
    guardian,
    output,
    events,
    log,
  })
  parts.defer(() => pool.close())
  const book = new LeaseBook({
    total: machine.total,
    gpus: machine.gpus.map(({ index, type, memoryBytes }) => ({ id: index, type, memoryBytes })),
    ...(options.workersMax === undefined ? {} : { workersMax: options.workersMax }),
    ...(options.prestart === undefined ? {} : { prestart: options.prestart }),
    ...(options.workerIdleMs === undefined ? {} : { idleMs: options.workerIdleMs }),
  })
  const labels = options.labels ?? {}
  const expectsOthers = (): boolean => meshGround?.network.knowsOthers === true
  const router = new LeaseRouter({ self: nodeId, labels, expectsOthers, local: book })
  const neighbours = new Neighbours()
  const whyForbidden = (job: ClientId): string | undefined => neighbours.whyForbidden(job)
  const gpus = (): GpuAdvert[] => gpuAdverts(machine, book)
  const groupParts = { self: nodeId, labels, book, gpus, directory, whyForbidden, expectsOthers, now }
  const groups = parts.adopt(new GroupDesk(groupParts), (each) => each.close())
  const desk = new LeaseDesk({ book, router, directory, pool, neighbours, groups, now })
  const leases = parts.adopt(desk, (each) => each.close())
  const names = parts.adopt(new NameDesk({ self: nodeId, directory, now }), (each) => each.close())
  const actorKeeper = new ActorKeeper({
    self: nodeId,
    id: clients.reserveId(),
    directory,
    leases,
    names,
    whyForbidden: (client) => neighbours.whyForbidden(client),
    bringCode: (hashes, node, onBrought) =>
      void elsewhere.waitForBlobs(hashes, node).then((missing) => onBrought(missing)),
    nodesInReserve: () => mesh?.lastingNodes() ?? [],
    now,
    log,
  })
  const keeper = parts.adopt(actorKeeper, (each) => each.close())
  directory.addOwn(keeper)
  names.onLead = (named) => keeper.lead(named)
  const { memoryLimitPercent: limitPercent = 95 } = options
  const read = await memoryReader(options.memoryInfoFile)
  const kills = (): number | undefined => systemKills(options.memoryInfoFile)
  const watched = { node: nodeId, limitPercent, read, systemKills: kills, book, pool, now, log }
  const memory = parts.adopt(new MemoryWatch(watched), (each) => each.close())
  pool.systemEnded = () => memory.systemEnded()
  leases.onWorkerExit = (workerId) => memory.workerGone(workerId)

  // Values and code.
  const { bytesMax } = ground
  const store = new ObjectStore({
    ...ground,
    spill: spillDirectory === '' ? undefined : new SpillFiles(spillDirectory),
    now,
    onPressure: (usedBytes) => clients.sendToAll('storePressure', { usedBytes, bytesMax }),
    log,
    onTrouble: (text) => events.say('disk', text, { level: 'error' }),
  })
  parts.defer(() => store.close())
  const processes = {
    isAlive,
    isWriting: (client: ClientId) => store.isWriting(client),
    onGone: (client: ClientId) => store.writerGone(client),
  }
  const pinTables = parts.adopt(new PinTables(ground.segment, processes), (each) => each.close())
  const blobs = parts.adopt(new BlobCache(codeDirectory, log, { inUse: () => keeper.code() }), (each) => each.close())

  // What people ask about, and have it do.
  const evacuate: DrainHost['evacuate'] = async (node, values) => {
    if (mesh === undefined) throw new UnreachableError('this node is on its own')
    return mesh.evacuate(node, values)
  }
  const drain = new Drain(drainHost({ self: nodeId, book, leases, pool, clients, store, events, evacuate, now, log }))
  const ownName = meshGround?.name ?? machine.hostname
  const drainReport = (): DrainReport => ({ node: nodeId, name: ownName, ...drain.report() })
  const taskBook = new TaskBook(nodeId)
  const tasksOf = new ClientQuestions(clients, 'tasksAsk')
  const actorsOf = new ClientQuestions(clients, 'actorsAsk')
  const survey = new Survey(
    { node: nodeId, name: ownName },
    {
      actors: () => actorsReport(actorsOf, keeper),
      tasks: ({ limit }) => tasksReport({ clients, questions: tasksOf, book: taskBook }, limit),
      taskRuns: ({ from, limit }) => taskBook.from(from[nodeId] ?? 0, limit),
      events: ({ from, limit }) => events.from(from[nodeId] ?? 0, limit),
      drain({ undo, ...how }) {
        if (undo) drain.undo()
        else drain.begin(how)
        return drainReport()
      },
      drainStatus: drainReport,
      output: ({ from, ...what }) => outputBook.find(what, from[nodeId] ?? 0),
      nodeLog: (what) => logPart(diary, what),
    },
  )

  // The other nodes.
  const stop = Promise.withResolvers<void>()
  const links = meshGround?.post ?? noLinks
  const relay = new Relay({ directory, routes: leases.routes, remote: leases.remote, links })
  const start = {
    storeDirectory: storeDirectory || spillDirectory,
    startedAtMs: startedAt.getTime(),
    handOver: options.handOver ?? true,
  }
  const work = {
    book,
    clients,
    directory,
    leases,
    groups,
    relay,
    output,
    store,
    pinTables,
    blobs,
    machine,
    router,
    survey,
    events,
  }
  const mesh =
    meshGround &&
    buildMesh(meshGround, {
      ...work,
      ...start,
      labels,
      neighbours,
      names,
      keeper,
      now,
      log,
      onLeft: () => stop.resolve(),
    })
  if (mesh === undefined) {
    groups.openAlone()
    names.openAlone()
  } else parts.defer(() => mesh.close())

  // Those who come.
  const sources = {
    startedAt,
    socketPath,
    isEmbedded,
    machine,
    book,
    pool,
    clients,
    store,
    blobs,
    leases,
    memory,
    relay,
    mesh,
    router,
  }
  const elsewhere = mesh?.elsewhere ?? nowhereElse(blobs, store)
  const storeDesk = new StoreDesk({ store, directory, elsewhere })
  const references = new ClientQuestions(clients, 'referencesAsk')
  const self = { node: nodeId, name: ownName }
  const localAdmin = new LocalAdmin({ self, store, pinTables, references, groups, now })
  const loneAdmin = (name: string): AdminCallee | undefined => (isLoneCall(name) ? localAdmin : undefined)
  const calleeOf = (name: string): AdminCallee | undefined =>
    isLocalCall(name) ? localAdmin : isSurveyCall(name) || isNodeCall(name) ? survey : (mesh?.admin ?? loneAdmin(name))
  const requests = new Requests({
    references,
    tasksOf,
    actorsOf,
    taskBook,
    events,
    leases,
    groups,
    names,
    keeper,
    blobs,
    storeDesk,
    output,
    elsewhere,
    admin: (name, args) => answerAdmin(calleeOf(name), name, args),
    status: () => nodeStatus({ ...sources, now }),
    onStop: () => stop.resolve(),
  })
  const lobby = new Lobby({
    clients,
    pool,
    node: nodeId,
    store,
    pinTables,
    storeDirectory,
    codeDirectory,
    cpus: machine.total['CPU'] ?? 0,
    onWorkerReady: (workerId) => leases.workerReady(workerId),
    onDriver: ({ pid, program }) => events.say('program', `program ${program} (pid ${pid}) has come`, { pid }),
  })
  const onClientGone = ({ id, role, pid, program }: Client): void => {
    if (role === 'driver') events.say('program', `program ${program} (pid ${pid}) has gone`, { pid })
    names.clientGone(id)
    blobs.clientGone(id)
    keeper.watchersGone((each) => each === id)
    mesh?.clientGone(id)
  }
  const reception = new Reception({
    clients,
    directory,
    lobby,
    relay,
    requests,
    leases,
    pool,
    store,
    storeDesk,
    pinTables,
    onClientGone,
    log,
  })
  await mesh?.open()
  server.open(reception.admit)
  leases.open()
  memory.open()
  const upText = `node ${nodeId} is up (pid ${process.pid}, shoal ${shoalVersion})`
  log(upText)
  events.say('node', upText, { about: nodeId, pid: process.pid })

  const running = parts.move()
  return {
    nodeId,
    place: mesh?.place,
    runtimeDirectory,
    socketPath,
    machine,
    store: ground,
    stopAsked: stop.promise,
    log,
    close: () => running.disposeAsync(),
  }
}

function logPart({ kept }: DaemonLog, { from, limit, isTail }: NodeLogArgs): NodeLogPart {
  const { items, ...part } = kept.from(isTail ? Math.max(0, kept.next - limit) : from, limit)
  return { lines: items, ...part }
}
