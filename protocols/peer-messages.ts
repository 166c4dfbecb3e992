import { namedActor, actorNameBytesMax } from './actor-names.ts'
import { advert } from './advert.ts'
import { electionMessage } from './election.ts'
import { clientIdBytes, nodeIdBytes, objectIdBytes } from './ids.ts'
import { keptActor } from './kept-actor.ts'
import { limits } from './limits.ts'
import { messageBytesMax, messages, type MessageName, type MessageType } from './messages.ts'
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
import { bundleResources, bundlesMax, bundleSpec, groupsMax, placementStrategy } from './placement-groups.ts'
import { schedulingStrategy } from './scheduling.ts'

/**
 * Every message between two nodes, in one typed table. Besides these a link carries what clients of the two nodes say to
 * each other, as they said it: see `clientMessagesOnLinks`.
 */

/** Nodes whose links speak another protocol refuse each other. */
export const peerProtocolVersion = 7

const small = 64 * 1024
const nodeId = hex(nodeIdBytes)
const clientId = hex(clientIdBytes)
const objectId = hex(objectIdBytes)
const actorName = string(actorNameBytesMax)
const text = shownText(16 * 1024)
const term = struct({ counter: u48, head: nodeId })

/** A request of a client: numbers are the client's own, so this names it in the whole mesh. */
const requestKey = { client: clientId, requestId: u32 }

/** What a client asks for, apart from where. */
const ask = {
  ...requestKey,
  resources: map(f64, 256),
  depth: u32,
  label: shownText(1024),
}

const groupId = hex(objectIdBytes)
/** Bundles of one group. `tryNumber`: the try of its home to which they belong; later ones have higher numbers. */
const bundleKeys = list(struct({ index: u32, tryNumber: u32 }), bundlesMax)
/** An actor in the hands of a client. */
const managed = { actor: objectId, manager: clientId, epoch: u32, isReserve: bool }

function message<T>(code: number, bytesMax: number, body: Codec<T>): MessageType<T> {
  return { code, body, bytesMax }
}

export const peerMessages = {
  election: message(110, small, struct({ message: electionMessage })),
  /** A message of the receiver's table of client messages, for one of its clients: `frame` is its type and its body. */
  toClient: message(111, limits.frameBytesMax + 64, struct({ client: clientId, frame: bytes })),
  /** A message of one of the sender's clients to the receiver itself. */
  fromClient: message(112, small, struct({ client: clientId, frame: bytes })),

  // --- leases of a client of the sender on workers of the receiver
  leaseAsk: message(
    113,
    small,
    struct({
      ...ask,
      envVars: map(string(small), 1024),
      envKey: string(128),
      job: clientId,
      /** Of a placement group: which bundle of the receiver's. */
      strategy: schedulingStrategy,
      isRetriable: bool,
      isActor: bool,
      /** False: grant it now or refuse it as busy. */
      mayWait: bool,
    }),
  ),
  leaseAskCancel: message(114, small, struct(requestKey)),
  /** `error` empty: withdrawn. The refusing node's own state comes with it. */
  leaseAskRefuse: message(
    115,
    small,
    struct({
      ...requestKey,
      error: oneOf('infeasible', 'workerLimit', 'workerStart', 'busy', 'forbidden', 'groupRemoved'),
      message: text,
      details: json,
      state: advert,
    }),
  ),

  // --- resources, told to the head directly
  nodeState: message(120, small, struct({ state: advert })),

  // --- home to head: what waits for a place
  demandAdd: message(121, small, struct({ ...ask, strategy: schedulingStrategy, waitedMs: f64 })),
  demandRemove: message(122, small, struct({ ...requestKey, isGranted: bool })),
  /** The node that the head named has refused; `state` is what it said of itself. */
  demandRefused: message(123, small, struct({ ...requestKey, state: list(advert, 1), node: nodeId })),

  // --- head to home: commands, obeyed only from the head of the term
  demandPlace: message(124, small, struct({ ...requestKey, term, node: nodeId, mayWait: bool })),
  demandInfeasible: message(125, small, struct({ ...requestKey, term, reason: text, details: json })),
  demandFeasible: message(126, small, struct({ ...requestKey, term })),
  /** The sender does not obey: its fence. */
  commandRefused: message(127, small, struct({ fence: term })),

  // --- questions
  explainAsk: message(130, small, struct({ askId: u32, client: clientId, requestId: u32 })),
  explainReply: message(131, 1024 * 1024, struct({ askId: u32, explained: json })),

  /** A call of the command line that every node answers for itself: see `surveyCalls`. */
  surveyAsk: message(170, small, struct({ askId: u32, name: string(64), args: json })),
  /** `answer`: as an `adminReply` has it. */
  surveyReply: message(171, limits.frameBytesMax, struct({ askId: u32, answer: json })),

  // --- membership
  revocations: message(140, 2 * 1024 * 1024, struct({ list: bytes })),
  renewAsk: message(141, small, struct({ askId: u32, credentials: bytes })),
  renewReply: message(142, small, struct({ askId: u32, credentials: bytes, refused: text })),
  /** The sender leaves in good order: it is not suspected, it is gone. */
  leaving: message(143, small, struct({ reason: text })),
  /** Asks the receiver to connect to the sender at these addresses, to see whether others can. */
  dialBackAsk: message(144, small, struct({ askId: u32, addresses: list(string(512), 16), clockMs: f64 })),
  dialBackReply: message(
    145,
    small,
    struct({ askId: u32, clockMs: f64, results: list(struct({ address: string(512), error: text }), 16) }),
  ),

  // --- values
  /** These values are no longer needed: copies of them are to go. */
  storedFree: message(150, limits.frameBytesMax, struct({ names: list(string(64), 100_000) })),
  /** The sender remembers no more that the receiver has copies of these values of its own: mere copies are to go. */
  copyForgotten: message(151, small, struct({ name: string(64) })),
  /** The receiver is to have a replica of this value of one of the sender's clients. `sources` have it. */
  replicaAsk: message(
    156,
    small,
    struct({ name: string(64), bytes: f64, owner: clientId, object: string(64), sources: list(nodeId, 64) }),
  ),
  /** The replica is there, and stays until it is freed; or there is none, for this reason. */
  replicaAnswer: message(157, small, struct({ name: string(64), problem: text })),
  /** The sender is about to leave and has these values of the receiver's clients: they are to be on other nodes, too. */
  evacuateAsk: message(
    172,
    1024 * 1024,
    struct({
      askId: u32,
      values: list(struct({ name: string(64), bytes: f64, owner: clientId, object: string(64) }), 500),
    }),
  ),
  /** `kept`: another node has it. `coming`: one is about to. `nowhere`: none can, for this reason, or it is not needed. */
  evacuateReply: message(
    173,
    1024 * 1024,
    struct({
      askId: u32,
      standings: list(
        struct({ name: string(64), standing: oneOf('kept', 'coming', 'nowhere'), problem: shownText(1024) }),
        500,
      ),
    }),
  ),
  /** The sender holds what is known by these keys, or does so no more: the receiver is one of those nearest to them. */
  provide: message(155, 1024 * 1024, struct({ adds: list(string(64), 5000), removes: list(string(64), 5000) })),
  /** Asks who holds what is known by a key. */
  holdersAsk: message(158, small, struct({ askId: u32, key: string(64) })),
  holdersReply: message(159, small, struct({ askId: u32, nodes: list(nodeId, 64) })),

  // --- placement groups. The home of a group is the node of the client that made it
  /** Home to head: these bundles want places. `placed`: nodes with bundles that stay; `refusedBy`: nodes that had no room. */
  groupPlan: message(
    160,
    1024 * 1024,
    struct({
      group: groupId,
      tryNumber: u32,
      strategy: placementStrategy,
      bundles: list(struct({ index: u32, spec: bundleSpec }), bundlesMax),
      placed: list(nodeId, bundlesMax),
      refusedBy: list(nodeId, bundlesMax),
    }),
  ),
  /** Home to head: the wish is there no more, served or not. */
  groupPlanEnd: message(161, small, struct({ group: groupId, tryNumber: u32, isServed: bool })),
  /** Head to home. `nodes`: one for each bundle that was asked for, in order; empty unless they are placed. */
  groupPlanned: message(
    162,
    small,
    struct({
      group: groupId,
      tryNumber: u32,
      term,
      outcome: oneOf('placed', 'pending', 'infeasible'),
      nodes: list(nodeId, bundlesMax),
      reason: text,
    }),
  ),
  /** Home to node: reserve all of these, or none. */
  bundleReserve: message(
    163,
    1024 * 1024,
    struct({
      group: groupId,
      tryNumber: u32,
      bundles: list(struct({ index: u32, resources: bundleResources }), bundlesMax),
    }),
  ),
  /** Node to home. `lost`: bundles that were claimed and are not there. */
  bundleReply: message(
    164,
    small,
    struct({ group: groupId, outcome: oneOf('reserved', 'refused', 'lost'), bundles: bundleKeys, reason: text }),
  ),
  /** Home to node: these belong to groups that are there. Said once to have them for good, then again now and then. */
  bundleClaim: message(
    165,
    limits.frameBytesMax,
    struct({ groups: list(struct({ group: groupId, bundles: bundleKeys }), groupsMax) }),
  ),
  /** Home to node: these are not needed any more, nor are those of earlier tries by the same numbers. */
  bundleRelease: message(166, small, struct({ group: groupId, bundles: bundleKeys, isRemoved: bool, reason: text })),
  groupAsk: message(167, small, struct({ group: groupId, want: oneOf('watch', 'unwatch', 'remove') })),
  /** Home to those who watch: see `groupState`. */
  groupTold: message(168, small, messages.groupState.body),
  /** The groups of the receiver's programs, for people to read. */
  groupsAsk: message(169, limits.groupsBytesMax, struct({ askId: u32, isAnswer: bool, groups: json })),

  // --- names of actors: nodes to the head. Below 220 are the network's own frames
  /** All names that the sender's clients have: a part of the report with this number. The other questions come after it. */
  nameReport: message(
    220,
    limits.frameBytesMax,
    struct({ term, id: u48, part: u32, parts: u32, names: list(namedActor, 10_000) }),
  ),
  /** An actor of a client of the sender is to have this name. */
  nameClaim: message(221, small, struct({ named: namedActor, handedBy: string(clientIdBytes * 2) })),
  nameFind: message(222, small, struct({ askId: u32, isId: bool, namespace: actorName, name: actorName })),
  /** The actor has the name no more. `mayReturn`: it is not dead, so whoever can start it again is to do so. */
  nameRelease: message(223, small, struct({ namespace: actorName, name: actorName, ...managed, mayReturn: bool })),

  // --- and the head's answers
  /** The head has no report of the receiver: what was sent over a link that has been replaced since does not count. */
  nameUnreported: message(229, small, struct({ term })),
  nameReported: message(224, small, struct({ term, id: u48 })),
  /** `holder`: who has the name now. */
  nameClaimed: message(
    225,
    small,
    struct({ term, ...managed, outcome: oneOf('given', 'taken', 'full'), holder: list(namedActor, 1) }),
  ),
  nameFound: message(226, small, struct({ term, askId: u32, holder: list(namedActor, 1) })),
  nameReleased: message(227, small, struct({ term, ...managed })),
  /** Two actors had one name, and `holder` keeps it: this one of the receiver is to end. */
  nameLost: message(
    228,
    small,
    struct({ term, namespace: actorName, name: actorName, ...managed, holder: list(namedActor, 1) }),
  ),

  /** Nobody leads the actor any more: the receiver, which can start it again, is to do so. */
  nameLead: message(230, small, struct({ term, ...managed })),

  // --- detached actors
  /** The receiver is to lead this actor from now on: it has a worker for it. */
  keepAsk: message(231, limits.frameBytesMax, struct({ kept: keptActor })),
  /** `given`: it does. Else the sender of the question is to go on with the actor, or to say why it cannot be. */
  keepAnswer: message(
    232,
    small,
    struct({
      actor: objectId,
      outcome: oneOf('given', 'taken', 'full', 'unavailable'),
      holder: list(namedActor, 1),
      code: string(64),
      text,
    }),
  ),
  /** The receiver is to be able to start this actor again when the sender, who leads it, is gone. */
  keepBackup: message(233, limits.frameBytesMax, struct({ kept: keptActor })),
  /** It is, or cannot be, for this reason. */
  keepBackedUp: message(234, small, struct({ actor: objectId, problem: text })),
  /** The actor is dead. */
  keepForget: message(235, small, struct({ actor: objectId })),
  keepForgotten: message(236, small, struct({ actor: objectId })),
} as const satisfies Record<string, MessageType<never> | MessageType<unknown>>

export type PeerMessageName = keyof typeof peerMessages
export type PeerMessageBody<N extends PeerMessageName> =
  (typeof peerMessages)[N] extends MessageType<infer T> ? T : never
export type PeerMessageHandlers = { [N in PeerMessageName]: (from: string, body: PeerMessageBody<N>) => void }

/** Messages between clients that links carry as they are. */
const clientMessagesOnLinks = [
  'taskPush',
  'taskCancel',
  'streamConsumed',
  'taskDone',
  'taskHandBack',
  'streamItem',
  'objectGet',
  'objectReply',
  'borrowAdd',
  'borrowRelease',
  'borrowAsk',
  'borrowSettle',
  'borrowMarkAsk',
  'borrowMark',
  'borrowMarked',
  'borrowsLost',
  'functionGet',
  'functionReply',
  'taskCancelOwned',
  'clientGone',
  'actorStart',
  'actorStarted',
  'actorEnd',
  'actorEnded',
  'actorPush',
  'actorDone',
  'actorItem',
  'actorConsumed',
  'actorCancel',
  'actorWatch',
  'actorUnwatch',
  'actorState',
  'actorKill',
] as const satisfies MessageName[]

const peerNameByCode: (PeerMessageName | undefined)[] = []
const bytesMaxByCode = new Uint32Array(256)
for (const name of clientMessagesOnLinks) bytesMaxByCode[messages[name].code] = messageBytesMax(messages[name].code)
for (const [name, { code, bytesMax }] of Object.entries(peerMessages)) {
  peerNameByCode[code] = name as PeerMessageName
  bytesMaxByCode[code] = bytesMax
}

/** The name of a message between nodes; undefined for messages between clients and for what is not known. */
export function peerMessageName(code: number): PeerMessageName | undefined {
  return peerNameByCode[code]
}

/** The most bytes that a message on a link may have; 0 when links do not carry its type. */
export function linkBytesMax(code: number): number {
  return bytesMaxByCode[code] ?? 0
}
