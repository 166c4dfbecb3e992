import { ByteReader, type ByteWriter } from './bytes.ts'
import { ProtocolError } from './errors.ts'
import { clientIdBytes, nodeIdBytes, objectIdBytes } from './ids.ts'
import { limits } from './limits.ts'
import { outOfMemoryDetails } from './out-of-memory.ts'
import { bundlesMax, bundleSpecs, placementStrategy } from './placement-groups.ts'
import { schedulingStrategy } from './scheduling.ts'
import { actorCall, actorSettings } from './actor-messages.ts'
import { actorDescriptionBytesMax, actorNameBytesMax, namedActor } from './actor-names.ts'
import { keptActor, keptFunctions } from './kept-actor.ts'
import {
  bool,
  bytes,
  f64,
  hex,
  json,
  list,
  map,
  oneOf,
  shownText,
  string,
  struct,
  u32,
  u48,
  type Codec,
} from './schema.ts'
import { taskResult, taskSpec } from './task-messages.ts'
import { wireValue } from './wire-value.ts'

/**
 * Every message between a node and its clients (drivers, workers, the command line), in one typed table. What crosses a
 * lease begins with the lease's number and what goes from client to client with the two ids, so that the node passes
 * those on without decoding them.
 */

export const protocolVersion = 11

export interface MessageType<T> {
  code: number
  body: Codec<T>
  bytesMax: number
}

const small = 64 * 1024
const nodeId = hex(nodeIdBytes)
const clientId = hex(clientIdBytes)
const objectId = hex(objectIdBytes)
const text = shownText(16 * 1024)
const filePath = string(16 * 1024)
const storedName = string(64)
/** A client tells of so many actors that it owns. */
export const ownedActorsMax = 2000
/** A client tells of so many values that it owns, and of so many that it borrows: they have to fit into one message. */
export const referencesMax = 2000
/** A client tells of so many of its tasks that have not ended. */
export const liveTasksMax = 500
/** Of each, so many borrowers. */
export const referenceBorrowersMax = 32

function message<T>(code: number, bytesMax: number, body: Codec<T>): MessageType<T> {
  return { code, body, bytesMax }
}

export const messages = {
  // --- opening
  hello: message(
    1,
    small,
    struct({
      protocol: u32,
      version: string(64),
      role: oneOf('driver', 'worker', 'command'),
      pid: u32,
      workerId: u32,
      program: text,
      wantsLogs: bool,
    }),
  ),
  welcome: message(
    2,
    small,
    struct({
      clientId,
      version: string(64),
      /** The node that this client is attached to: the beginning of its id. */
      nodeId,
      nodePid: u32,
      /** The shared memory of the object store, as a file to map; empty when there is none. */
      storeSegment: filePath,
      /** Which table of pins in it is this client's; -1 for none. */
      pinTable: f64,
      /** Where values lie in files of their own, when there is no shared memory. */
      storeDirectory: filePath,
      codeDirectory: filePath,
      storeBytesMax: f64,
      cpus: f64,
    }),
  ),
  refused: message(3, small, struct({ code: text, message: text })),

  // --- leases
  leaseRequest: message(
    10,
    small,
    struct({
      requestId: u32,
      resources: map(f64, 256),
      strategy: schedulingStrategy,
      envVars: map(string(small), 1024),
      envKey: string(128),
      depth: u32,
      label: shownText(1024),
      /** Its tasks can be tried again, so that they go first when memory runs out. */
      isRetriable: bool,
      /** The driver at the root of this work: console output goes there. */
      job: clientId,
      /** The worker is kept for as long as its owner wants it: it is not asked back for others. */
      isActor: bool,
    }),
  ),
  leaseCancel: message(11, small, struct({ requestId: u32 })),
  leaseGrant: message(
    12,
    small,
    /** The worker may be on another node: its id tells which. So many nodes could run what was asked for. */
    struct({
      requestId: u32,
      leaseId: u32,
      workerId: clientId,
      workerPid: u32,
      gpuIds: list(u32, 1024),
      nodesAble: u32,
    }),
  ),
  leaseRefuse: message(
    13,
    small,
    struct({
      requestId: u32,
      error: oneOf('infeasible', 'workerLimit', 'workerStart', 'busy', 'forbidden', 'groupRemoved'),
      message: text,
      details: json,
    }),
  ),
  leaseReturn: message(14, small, struct({ leaseId: u32 })),
  leaseReclaim: message(15, small, struct({ leaseId: u32 })),
  /** `outOfMemory`: it was ended for that; one entry, or none. `isGroupRemoved`: its placement group is there no more. */
  leaseLost: message(
    16,
    small,
    struct({ leaseId: u32, reason: text, outOfMemory: list(outOfMemoryDetails, 1), isGroupRemoved: bool }),
  ),
  leaseKill: message(17, small, struct({ leaseId: u32, reason: text })),
  /** To the worker: whose tasks come next. `depth` and `job` are those of the lease's request. */
  leaseStart: message(
    18,
    small,
    struct({ leaseId: u32, owner: clientId, job: clientId, depth: u32, gpuIds: list(u32, 1024) }),
  ),
  leaseEnd: message(19, small, struct({ leaseId: u32 })),

  /** How many tasks an owner has running and queued: for reports only. */
  taskCounts: message(24, small, struct({ running: u32, queued: u32 })),

  // --- across a lease: owner to worker
  taskPush: message(20, limits.frameBytesMax, struct({ leaseId: u32, tasks: list(taskSpec, 100_000) })),
  taskCancel: message(21, small, struct({ leaseId: u32, sequence: u48, recursive: bool })),
  streamConsumed: message(22, small, struct({ leaseId: u32, sequence: u48, count: u48 })),

  // --- across a lease: worker to owner
  taskDone: message(30, limits.frameBytesMax, struct({ leaseId: u32, results: list(taskResult, 100_000) })),
  taskHandBack: message(31, limits.frameBytesMax, struct({ leaseId: u32, sequences: list(u48, 100_000) })),
  streamItem: message(32, limits.frameBytesMax, struct({ leaseId: u32, sequence: u48, index: u48, value: wireValue })),
  /** The worker's task waits in `get()`, or does so no more. The node takes note and tells the owner. */
  leaseBlocked: message(33, small, struct({ leaseId: u32, isBlocked: bool })),

  /** From a worker to its node: others still need what it owns (objects, tasks), so it must not be stopped for idleness. */
  workerNeeded: message(34, small, struct({ isNeeded: bool })),

  // --- from client to client: the node reads the two ids and passes the message on
  /** `lostName`: the stored value that the asker could not read, so that another one is needed; else empty. */
  objectGet: message(
    40,
    small,
    struct({ to: clientId, from: clientId, requestId: u32, object: objectId, lostName: storedName }),
  ),
  objectReply: message(
    41,
    limits.frameBytesMax,
    struct({ to: clientId, from: clientId, requestId: u32, value: wireValue }),
  ),
  /** `borrower` now holds a reference to the object of `to`, lent to it by `from`, which may be the borrower itself. */
  borrowAdd: message(43, small, struct({ to: clientId, from: clientId, object: objectId, borrower: clientId })),
  /** `from` gives back borrows that it had from that lender. */
  borrowRelease: message(
    44,
    small,
    struct({ to: clientId, from: clientId, object: objectId, lender: clientId, count: u32 }),
  ),
  /** The lender is gone: what has `to` got of the objects of `from` that it was lent by it? */
  borrowAsk: message(48, small, struct({ to: clientId, from: clientId, lender: clientId, number: u32 })),
  /** The owner `from` is not sure what `borrower` has by the lender `to`, which is to send a mark behind all that it has lent. */
  borrowMarkAsk: message(117, small, struct({ to: clientId, from: clientId, borrower: clientId, number: u32 })),
  /** From the lender to the borrower, which answers the owner: what it has by that lender now. */
  borrowMark: message(118, small, struct({ to: clientId, from: clientId, owner: clientId, number: u32 })),
  /** From the lender to the owner: the mark is sent. */
  borrowMarked: message(119, small, struct({ to: clientId, from: clientId, borrower: clientId, number: u32 })),
  /**
   * The link to a node was broken: what `from` has lent to processes there may be lost; when it is the owner's, what it has said
   * to the owner.
   */
  borrowsLost: message(205, small, struct({ to: clientId, from: clientId, node: nodeId })),
  /** A part of the answer: all that `from` has by that lender, of the objects with numbers from `first` to `last`. */
  borrowSettle: message(
    42,
    limits.frameBytesMax,
    struct({
      to: clientId,
      from: clientId,
      lender: clientId,
      number: u32,
      first: u48,
      last: u48,
      holds: list(struct({ object: objectId, count: u32 }), limits.settledObjectsMax),
    }),
  ),
  functionGet: message(45, small, struct({ to: clientId, from: clientId, requestId: u32, functionId: objectId })),
  functionReply: message(
    46,
    limits.frameBytesMax,
    struct({ to: clientId, from: clientId, requestId: u32, value: wireValue }),
  ),
  taskCancelOwned: message(
    47,
    small,
    struct({ to: clientId, from: clientId, object: objectId, force: bool, recursive: bool }),
  ),
  /** A message with a request number could not be passed on: its receiver is gone. */
  undeliverable: message(49, small, struct({ client: clientId, requestId: u32 })),
  /**
   * From a node: what a process that has ended has stored for this client, or of whose values a copy is all that is left. What
   * the client does not know, it frees.
   */
  valuesLeft: message(52, limits.frameBytesMax, struct({ names: list(storedName, 1_000_000) })),
  /** A client is gone: what it owned is lost, what it borrowed is given back. */
  clientGone: message(50, small, struct({ client: clientId })),
  /** Another node is gone, and all its clients with it. */
  nodeGone: message(51, small, struct({ node: nodeId, reason: text })),
  /** There is a link to another node: for the first time, or again, and then with the clients there that have not ended. */
  nodeBack: message(116, small, struct({ node: nodeId })),

  // --- actors: their owner to the worker of the lease, and back
  /** The worker is this actor from now on: `creation` holds the class and the arguments of its constructor. */
  actorStart: message(
    180,
    limits.frameBytesMax,
    struct({ leaseId: u32, actor: objectId, creation: taskSpec, settings: actorSettings }),
  ),
  actorStarted: message(181, limits.frameBytesMax, struct({ leaseId: u32, result: taskResult })),
  /** The actor is to end when it has done what it was asked for so far. */
  actorEnd: message(182, small, struct({ leaseId: u32 })),
  /** The actor has ended in good order: nothing more comes from it. */
  actorEnded: message(183, small, struct({ leaseId: u32, reason: text })),

  // --- actors: who calls, and the worker. From client to client, as above
  actorPush: message(
    184,
    limits.frameBytesMax,
    struct({
      to: clientId,
      from: clientId,
      requestId: u32,
      actor: objectId,
      /** The id that the caller's handle has: the numbers of its calls go up. */
      handle: objectId,
      calls: list(actorCall, 100_000),
    }),
  ),
  actorDone: message(
    185,
    limits.frameBytesMax,
    struct({ to: clientId, from: clientId, results: list(taskResult, 100_000) }),
  ),
  actorItem: message(
    186,
    limits.frameBytesMax,
    struct({ to: clientId, from: clientId, sequence: u48, index: u48, value: wireValue }),
  ),
  actorConsumed: message(187, small, struct({ to: clientId, from: clientId, sequence: u48, count: u48 })),
  actorCancel: message(188, small, struct({ to: clientId, from: clientId, sequence: u48, recursive: bool })),
  /** A process of the same node would call the actor of this worker without the node between them. */
  actorMeet: message(206, small, struct({ to: clientId, from: clientId })),
  /** The answer: a socket that waits for a connection of whoever knows the key; '' when there is none. */
  actorMet: message(207, small, struct({ to: clientId, from: clientId, socketPath: filePath, key: string(64) })),
  /** The first message on that connection, and its answer. Then come `actorPush`, `actorCancel` and `actorDone`. */
  actorHello: message(208, small, struct({ key: string(64) })),
  /** On that connection: the worker returns it when it has taken in everything before it. */
  actorFence: message(209, small, struct({ number: u32 })),

  // --- actors: who calls, and the owner
  /** Asks how an actor of `to` is, now and whenever that changes. */
  actorWatch: message(189, small, struct({ to: clientId, from: clientId, requestId: u32, actor: objectId })),
  actorUnwatch: message(191, small, struct({ to: clientId, from: clientId, actor: objectId })),
  actorState: message(
    190,
    limits.frameBytesMax,
    struct({
      to: clientId,
      from: clientId,
      actor: objectId,
      state: oneOf('pending', 'alive', 'restarting', 'dead'),
      /** Where it is alive: the worker, and how often it was started before. */
      worker: string(clientIdBytes * 2),
      incarnation: u32,
      /** Under this id its worker knows it. */
      target: objectId,
      reason: text,
      /** What calls of a dead actor give. */
      error: list(wireValue, 1),
    }),
  ),
  actorKill: message(192, small, struct({ to: clientId, from: clientId, actor: objectId, mayRestart: bool })),

  // --- names of actors: clients and their node
  /** An actor that the client has made is to have this name. */
  actorNameClaim: message(
    193,
    small,
    struct({
      requestId: u32,
      actor: objectId,
      namespace: string(actorNameBytesMax),
      name: string(actorNameBytesMax),
      description: string(actorDescriptionBytesMax),
    }),
  ),
  /** Who has that name? With `isId`: who leads the detached actor of which `name` is the id? */
  actorFind: message(
    194,
    small,
    struct({ requestId: u32, isId: bool, namespace: string(actorNameBytesMax), name: string(actorNameBytesMax) }),
  ),
  /** `holder`: who has the name now. `text`: why there is no better answer; `code` is that of the error. */
  actorNameAnswer: message(
    195,
    small,
    struct({
      requestId: u32,
      outcome: oneOf('given', 'taken', 'full', 'found', 'none', 'unavailable'),
      holder: list(namedActor, 1),
      code: string(64),
      text,
    }),
  ),
  /** The actor is dead, or never came to be: its name is free. */
  actorNameRelease: message(196, small, struct({ actor: objectId })),
  /** Another actor, `holder`, keeps the name of this one of the client's: it is to end. */
  actorNameLost: message(197, small, struct({ actor: objectId, isReserve: bool, holder: list(namedActor, 1) })),
  /** The node is to make an actor that outlives the client. Answered by `actorNameAnswer`, once it has a place. */
  actorKeep: message(198, limits.frameBytesMax, struct({ requestId: u32, kept: keptActor })),
  /** To the worker of a detached actor, before `actorStart`: what it must not ask of the creator, which may be gone. */
  actorCode: message(199, limits.frameBytesMax, struct({ leaseId: u32, functions: keptFunctions })),

  // --- shipped code, by the hash of its content
  blobPut: message(60, limits.blobBytesMax, struct({ hash: hex(32), content: bytes })),
  /** Asks to be told when these are there. `node` has those that are missing here. */
  blobsWait: message(
    61,
    limits.frameBytesMax,
    struct({ requestId: u32, node: nodeId, hashes: list(hex(32), 100_000) }),
  ),
  blobsReady: message(62, limits.frameBytesMax, struct({ requestId: u32, missing: list(hex(32), 100_000) })),

  // --- the object store
  /**
   * The first message of a second connection of a client, on which it waits for room in the store without a turn of its event
   * loop. Its version comes first, as in `hello`.
   */
  storeAttach: message(75, small, struct({ protocol: u32, clientId })),
  /**
   * Asks for room for a value that the client is about to write. `isAhead`: that it will write perhaps; it is refused at once
   * when others would have to make room for it.
   */
  storeAllocate: message(
    76,
    small,
    struct({ requestId: u32, name: storedName, bytes: f64, owner: clientId, isAhead: bool }),
  ),
  /** `memory`: write it there in the segment. `file`: write it to a new file of this name. */
  storePlaced: message(
    77,
    small,
    struct({
      requestId: u32,
      kind: oneOf('memory', 'file', 'refused'),
      offset: f64,
      generation: u32,
      file: filePath,
      message: text,
      details: json,
    }),
  ),
  /** The client does not write the value for which it has room, or has asked for some. On either connection. */
  storeAbandon: message(78, small, struct({ name: storedName })),
  /** A value has been written. `object`: whose value it is, if that is known. `isFile`: to a file of the client's own. */
  objectStored: message(
    70,
    small,
    struct({ name: storedName, bytes: f64, owner: clientId, object: string(64), crc: u32, isFile: bool }),
  ),
  /** A value of the client's, here or on another node, is to be kept on so many nodes. */
  storedReplicate: message(79, small, struct({ name: storedName, bytes: f64, object: objectId, copies: u32 })),
  objectFreed: message(71, limits.frameBytesMax, struct({ names: list(storedName, 100_000) })),
  /** The store is getting full: drop what is no longer used. */
  storePressure: message(72, small, struct({ usedBytes: f64, bytesMax: f64 })),

  /**
   * Asks where a value can be read; it is brought into the store here from other nodes, or from the disk, if need be.
   * `damaged`: the file in which the client has found it damaged; '' when it has not.
   */
  storedOpen: message(
    73,
    small,
    struct({
      requestId: u32,
      name: storedName,
      bytes: f64,
      owner: clientId,
      object: string(64),
      priority: oneOf('get', 'wait', 'args'),
      damaged: filePath,
    }),
  ),
  /** The client waits for the answer no more. A value that has begun to come is brought here all the same. */
  storedCancel: message(69, small, struct({ requestId: u32 })),
  /** `file`: from `offset` on, with this sum of its bytes. `error`: `code` is the error's. */
  storedOpened: message(
    74,
    small,
    struct({
      requestId: u32,
      kind: oneOf('memory', 'file', 'error'),
      offset: f64,
      generation: u32,
      file: filePath,
      crc: u32,
      code: string(64),
      message: text,
    }),
  ),

  /** Asks a client what it owns and borrows of the values in stores, for people to read. */
  referencesAsk: message(100, small, struct({ requestId: u32 })),
  references: message(
    101,
    limits.frameBytesMax,
    struct({
      requestId: u32,
      /**
       * `tasks`: of this client, that wait or run and take it. `rebuilds`: finished ones that would, were their results lost.
       * `insides`: values of this client that have a ref to it inside. `hasRef`: its program is known to have one.
       */
      owned: list(
        struct({
          object: objectId,
          name: storedName,
          made: shownText(1024),
          borrowers: list(clientId, referenceBorrowersMax),
          tasks: u32,
          rebuilds: u32,
          insides: u32,
          hasRef: bool,
        }),
        referencesMax,
      ),
      borrowed: list(struct({ object: objectId, tasks: u32 }), referencesMax),
    }),
  ),

  // --- placement groups
  /** The client makes a group, and is told from now on how it stands. Its id begins with that of the client. */
  groupCreate: message(
    102,
    1024 * 1024,
    struct({
      group: objectId,
      job: clientId,
      name: shownText(1024),
      strategy: placementStrategy,
      bundles: bundleSpecs,
    }),
  ),
  /** Asks to be told how a group stands, now and when that changes; or not any more. */
  groupWatch: message(103, small, struct({ group: objectId, isOn: bool })),
  groupRemove: message(104, small, struct({ group: objectId })),
  /** How a group stands. `nodes`: where each bundle is; empty for one that is nowhere. */
  groupState: message(
    105,
    small,
    struct({
      group: objectId,
      state: oneOf('pending', 'ready', 'infeasible', 'removed', 'refused'),
      reason: text,
      nodes: list(string(nodeIdBytes * 2), bundlesMax),
    }),
  ),

  // --- what becomes of tasks, for people to read
  /**
   * From an SDK process, now and then: tasks that have ended. `isHere`: it ran in this process; else what ended it is told by its
   * owner, and `node` and `pid` say where it ran, if it did. `count`: the record stands for so many of this name, the first of
   * which is `sequence`. `left` were not recorded.
   */
  taskRuns: message(
    95,
    limits.frameBytesMax,
    struct({
      left: u32,
      runs: list(
        struct({
          owner: clientId,
          job: clientId,
          sequence: u48,
          attempt: u32,
          name: shownText(1024),
          state: oneOf('finished', 'failed', 'cancelled'),
          code: shownText(256),
          isHere: bool,
          node: string(64),
          pid: u32,
          startMs: f64,
          endMs: f64,
          busyMs: f64,
          count: u32,
        }),
        2000,
      ),
    }),
  ),
  /** Asks a client for those of its tasks that have not ended. */
  /** Asks a client for the actors that it owns and that are not dead. */
  actorsAsk: message(178, small, struct({ requestId: u32 })),
  /** `worker` is empty for one that is on none. */
  ownedActors: message(
    179,
    limits.frameBytesMax,
    struct({
      requestId: u32,
      actors: list(
        struct({
          actor: objectId,
          className: shownText(1024),
          namespace: string(actorNameBytesMax),
          name: string(actorNameBytesMax),
          state: oneOf('pending', 'alive', 'restarting', 'dead'),
          restarts: u32,
          worker: string(clientIdBytes * 2),
          workerPid: u32,
        }),
        ownedActorsMax,
      ),
      more: u32,
    }),
  ),
  tasksAsk: message(96, small, struct({ requestId: u32 })),
  /** `queued`: for a worker, or on one behind another task. `node` is empty for what is on no worker. */
  liveTasks: message(
    97,
    limits.frameBytesMax,
    struct({
      requestId: u32,
      tasks: list(
        struct({
          sequence: u48,
          name: shownText(1024),
          job: clientId,
          attempt: u32,
          state: oneOf('waiting', 'queued', 'running'),
          node: string(64),
          workerPid: u32,
          forMs: f64,
        }),
        liveTasksMax,
      ),
      more: u32,
    }),
  ),

  /** So many objects of this client were lost for good, and so many made again; the first of them, and why. */
  objectNews: message(98, small, struct({ lost: u32, remade: u32, object: string(64), reason: text })),

  // --- console output
  log: message(
    80,
    limits.frameBytesMax,
    struct({ pid: u32, name: shownText(1024), isError: bool, lines: list(string(limits.frameBytesMax), 100_000) }),
  ),
  logFlush: message(81, small, struct({ requestId: u32 })),
  logFlushed: message(82, small, struct({ requestId: u32 })),

  // --- the command line
  statusGet: message(90, small, struct({ requestId: u32 })),
  statusReply: message(91, 16 * 1024 * 1024, struct({ requestId: u32, status: json })),
  nodeStop: message(92, small, struct({ requestId: u32 })),
  /** Questions about the mesh, and changes to it: see admin.ts. */
  adminCall: message(93, small, struct({ requestId: u32, name: string(64), args: json })),
  adminReply: message(94, limits.adminReplyBytesMax, struct({ requestId: u32, reply: json })),
} as const satisfies Record<string, MessageType<never> | MessageType<unknown>>

export type MessageName = keyof typeof messages
export type MessageBody<N extends MessageName> = (typeof messages)[N] extends MessageType<infer T> ? T : never
export type MessageHandlers = { [N in MessageName]?: (body: MessageBody<N>) => void }

const byCode: (MessageName | undefined)[] = []
for (const [name, type] of Object.entries(messages)) byCode[type.code] = name as MessageName

/** The name of a message type, or undefined for one that is not known. */
export function messageName(code: number): MessageName | undefined {
  return byCode[code]
}

/** The most bytes that a message of this type may have; 0 when there is no such type. */
export function messageBytesMax(code: number): number {
  const name = byCode[code]
  return name === undefined ? 0 : messages[name].bytesMax
}

export function encodeBody<N extends MessageName>(writer: ByteWriter, name: N, body: MessageBody<N>): void {
  ;(messages[name].body as Codec<unknown>).write(writer, body)
}

/** Decodes a message's body. Throws ProtocolError when it is too short or too long for its type. */
export function decodeBody<N extends MessageName>(name: N, body: Uint8Array): MessageBody<N> {
  const reader = new ByteReader(body)
  const value = messages[name].body.read(reader)
  if (reader.remaining !== 0) throw new ProtocolError(`a ${name} message has ${reader.remaining} bytes too many`)
  return value as MessageBody<N>
}
