import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import type { ClientId, NodeId } from '../../protocols/ids.ts'
import { decodeBody, type MessageBody, type MessageName } from '../../protocols/messages.ts'
import type { GroupDesk } from '../groups/group-desk.ts'
import type { BlobCache } from '../code/blob-cache.ts'
import type { ActorKeeper } from '../actors/actor-keeper.ts'
import type { NameDesk } from '../names/name-desk.ts'
import type { OutputRelay } from '../workers/output-relay.ts'
import type { EventBook } from '../reports/event-book.ts'
import type { TaskBook } from '../reports/task-book.ts'
import type { Client } from './client.ts'
import type { ClientQuestions } from './client-questions.ts'
import type { LeaseDesk } from './lease-desk.ts'
import type { StoreDesk, ValuesElsewhere } from './store-desk.ts'

/** What other nodes do for the clients of this one, besides leases. */
export interface Elsewhere extends ValuesElsewhere {
  /** Waits until blobs are here, those of `node` brought here if need be; gives those that cannot be had. */
  waitForBlobs(hashes: readonly string[], node: NodeId): Promise<string[]>
  /** Has the console output of a job sent on by the other nodes. */
  flushOutput(job: ClientId): Promise<void>
}

export interface RequestsOptions {
  leases: LeaseDesk
  groups: GroupDesk
  blobs: BlobCache
  storeDesk: StoreDesk
  names: NameDesk
  keeper: ActorKeeper
  references: ClientQuestions<'referencesAsk'>
  tasksOf: ClientQuestions<'tasksAsk'>
  actorsOf: ClientQuestions<'actorsAsk'>
  taskBook: TaskBook
  events: EventBook
  output: OutputRelay
  elsewhere: Elsewhere
  /** Answers a question about the mesh, or makes a change to it. */
  admin(name: string, args: unknown): Promise<unknown>
  status(): unknown
  onStop(): void
}

/** What tasks may know. */
const forWorkers: ReadonlySet<string> = new Set(['nodes', 'placementGroups'])

type Handlers = { [N in MessageName]?: (client: Client, body: MessageBody<N>) => void }

/** What clients ask of the node itself. */
export class Requests {
  readonly #handlers: Handlers

  constructor(options: RequestsOptions) {
    const { leases, groups, blobs, storeDesk, names, keeper, output, elsewhere } = options
    this.#handlers = {
      leaseRequest: (client, body) => leases.request(client, body),
      leaseCancel: (client, { requestId }) => leases.cancelRequest(client, requestId),
      leaseReturn: (client, { leaseId }) => leases.giveBack(client, leaseId),
      leaseKill: (client, { leaseId, reason }) => leases.kill(client, leaseId, reason),
      taskCounts: (client, counts) => {
        client.tasks = counts
      },
      leaseBlocked: (client, body) => leases.blocked(client, body),
      workerNeeded: (client, { isNeeded }) => leases.needed(client, isNeeded),
      blobPut: (client, { hash, content }) => {
        void blobs.put(hash, content, client.id).then((isTrue) => {
          if (!isTrue) client.fail(`shipped code ${hash} has another hash`)
        })
      },
      blobsWait: (client, { requestId, hashes, node }) => {
        void elsewhere.waitForBlobs(hashes, node).then((missing) => client.send('blobsReady', { requestId, missing }))
      },
      objectStored: (_, body) => storeDesk.stored(body),
      storeAbandon: (_, body) => storeDesk.abandon(body),
      storedReplicate: (client, body) => storeDesk.replicate(client, body),
      objectFreed: (_, body) => storeDesk.freed(body),
      storedOpen: (client, body) => storeDesk.open(client, body),
      references: (client, body) => options.references.answered(client, body),
      actorNameClaim: (client, body) => names.claim(client, body),
      actorFind: (client, body) => names.find(client, body),
      actorNameRelease: (client, body) => names.release(client, body),
      actorKeep: (client, body) => keeper.keep(client, body),
      ownedActors: (client, body) => options.actorsOf.answered(client, body),
      liveTasks: (client, body) => options.tasksOf.answered(client, body),
      objectNews: (client, body) => options.events.say('object', objectText(body), objectFacts(client, body)),
      taskRuns: (client, body) => options.taskBook.add(client.pid, body),
      storedCancel: (client, body) => storeDesk.cancel(client, body),
      groupCreate: (client, body) => groups.create(client, body),
      groupWatch: (client, body) => groups.watch(client, body),
      groupRemove: (client, body) => groups.remove(client, body),
      logFlush: (client, { requestId }) => {
        const flushed = Promise.all([output.flush(), elsewhere.flushOutput(client.id)])
        void flushed.then(() => client.send('logFlushed', { requestId }))
      },
      statusGet: (client, { requestId }) => client.send('statusReply', { requestId, status: options.status() }),
      nodeStop: () => options.onStop(),
      adminCall: (client, { requestId, name, args }) => {
        // Workers run users' code, and that is not the user.
        if (client.role === 'worker' && !forWorkers.has(name)) throw new ProtocolError(`a worker may not call ${name}`)
        void options.admin(name, args).then((reply) => client.send('adminReply', { requestId, reply }))
      },
    }
  }

  take(client: Client, name: MessageName, frame: Frame): void {
    const handler = this.#handlers[name] as ((client: Client, body: unknown) => void) | undefined
    if (handler === undefined) throw new ProtocolError(`a node takes no ${name} message`)
    handler(client, decodeBody(name, frame.body))
  }
}

function objectText({ lost, remade, object, reason }: MessageBody<'objectNews'>): string {
  const counts = [
    ...(lost === 0 ? [] : [`${lost} lost for good`]),
    ...(remade === 0 ? [] : [`${remade} lost and made again`]),
  ]
  return `objects: ${counts.join(', ')}, such as ${object}: ${reason}`
}

function objectFacts({ pid }: Client, { lost }: MessageBody<'objectNews'>): { pid: number; level: 'error' | 'info' } {
  return { pid, level: lost > 0 ? 'error' : 'info' }
}
