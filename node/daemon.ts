import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { shoalVersion } from '../protocols/version.ts'
import { BlobCache } from './code/blob-cache.ts'
import { compileCacheDirectory } from './home/compile-cache.ts'
import { cleanUpAfterDeadNode, refuseSecondNode } from './home/clean-up.ts'
import { DaemonLog } from './home/daemon-log.ts'
import { writeNodeFile } from './home/node-file.ts'
import { nodePlaces, prepareRuntimeDirectory } from './home/runtime-directory.ts'
import { takeStartLock } from './home/start-lock.ts'
import { LeaseBook } from './leases/lease-book.ts'
import { resourceOptions, type NodeOptions } from './options.ts'
import { detectResources, type NodeResources } from './resources/detect.ts'
import { ClientTable } from './server/client-table.ts'
import { LeaseDesk } from './server/lease-desk.ts'
import { Lobby } from './server/lobby.ts'
import { Reception } from './server/reception.ts'
import { Relay } from './server/relay.ts'
import { Requests } from './server/requests.ts'
import { SocketServer } from './server/socket-server.ts'
import { nodeStatus } from './status.ts'
import { makeCodeDirectory, makeStoreDirectory, type StoreDirectory } from './store/store-directory.ts'
import { StoredFiles } from './store/stored-files.ts'
import { Guardian } from './workers/guardian.ts'
import { OutputRelay } from './workers/output-relay.ts'
import { WorkerPool } from './workers/worker-pool.ts'

/** A running node. */
export interface Daemon {
  readonly runtimeDirectory: string
  readonly socketPath: string
  readonly machine: NodeResources
  readonly store: StoreDirectory
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
export async function startDaemon(options: NodeOptions = {}): Promise<Daemon> {
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
  const store = makeStoreDirectory(runtimeDirectory, options.storeBytesMax)
  const codeDirectory = makeCodeDirectory(runtimeDirectory, token)
  const directories = [store.path, codeDirectory]
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
  const home = { socketPath, storeDirectory: store.path, codeDirectory, guardianPid: guardian.pid }
  writeNodeFile(runtimeDirectory, {
    pid: process.pid,
    token,
    version: shoalVersion,
    startedAt: startedAt.toISOString(),
    ...home,
  })
  await starting.disposeAsync()

  // What there is to lease, and the workers.
  const machine = await detectResources(resourceOptions(options))
  const clients = new ClientTable()
  const output = new OutputRelay(clients, log)
  const pool = new WorkerPool({
    entry: options.workerEntry ?? workerEntry,
    socketPath,
    compileCacheDirectory: compileCacheDirectory(),
    startMs: options.workerStartMs ?? 30_000,
    guardian,
    output,
    log,
  })
  parts.defer(() => pool.close())
  const book = new LeaseBook({
    total: machine.total,
    gpuIds: machine.gpus.map((gpu) => gpu.index),
    ...(options.workersMax === undefined ? {} : { workersMax: options.workersMax }),
    ...(options.prestart === undefined ? {} : { prestart: options.prestart }),
    ...(options.workerIdleMs === undefined ? {} : { idleMs: options.workerIdleMs }),
  })
  const leases = parts.adopt(new LeaseDesk({ book, clients, pool, now }), (each) => each.close())

  // Values and code.
  const files = new StoredFiles({
    directory: store.path,
    bytesMax: store.bytesMax,
    now,
    onPressure: (usedBytes) => clients.sendToAll('storePressure', { usedBytes, bytesMax: store.bytesMax }),
    log,
  })
  const blobs = parts.adopt(new BlobCache(codeDirectory, log), (each) => each.close())

  // Those who come.
  const stop = Promise.withResolvers<void>()
  const relay = new Relay(clients, leases.routes)
  const sources = {
    startedAt,
    socketPath,
    isEmbedded,
    machine,
    book,
    pool,
    clients,
    store,
    files,
    blobs,
    leases,
    relay,
  }
  const requests = new Requests({
    clients,
    leases,
    blobs,
    files,
    output,
    status: () => nodeStatus({ ...sources, now }),
    onStop: () => stop.resolve(),
  })
  const lobby = new Lobby({
    clients,
    pool,
    storeDirectory: store.path,
    codeDirectory,
    storeBytesMax: store.bytesMax,
    cpus: machine.total['CPU'] ?? 0,
    onWorkerReady: (workerId) => leases.workerReady(workerId),
  })
  const reception = new Reception({ clients, lobby, relay, requests, leases, pool, files, log })
  server.open(reception.admit)
  leases.open()
  log(`node ${token} is up (pid ${process.pid}, shoal ${shoalVersion})`)

  const running = parts.move()
  return {
    runtimeDirectory,
    socketPath,
    machine,
    store,
    stopAsked: stop.promise,
    log,
    close: () => running.disposeAsync(),
  }
}
