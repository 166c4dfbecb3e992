import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import type { ClientId, NodeId } from '../../protocols/ids.ts'
import { decodeBody, type MessageBody, type MessageName } from '../../protocols/messages.ts'
import type { BlobCache } from '../code/blob-cache.ts'
import type { StoredFiles } from '../store/stored-files.ts'
import type { OutputRelay } from '../workers/output-relay.ts'
import type { Client } from './client.ts'
import type { ClientDirectory } from './client-directory.ts'
import type { LeaseDesk } from './lease-desk.ts'

/** What other nodes do for the clients of this one, besides leases. */
export interface Elsewhere {
  /** Waits until blobs are here, those of `node` brought here if need be; gives those that cannot be had. */
  waitForBlobs(hashes: readonly string[], node: NodeId): Promise<string[]>
  /** Brings a stored value here. Rejects with an error that says why not. */
  fetchStored(name: string, bytes: number): Promise<void>
  /** Values, of this node or others, that are needed no more. */
  freeStored(names: readonly string[]): void
  /** Has the console output of a job sent on by the other nodes. */
  flushOutput(job: ClientId): Promise<void>
}

export interface RequestsOptions {
  directory: ClientDirectory
  leases: LeaseDesk
  blobs: BlobCache
  files: StoredFiles
  output: OutputRelay
  elsewhere: Elsewhere
  /** Answers a question about the mesh, or makes a change to it. */
  admin(name: string, args: unknown): Promise<unknown>
  status(): unknown
  onStop(): void
}

type Handlers = { [N in MessageName]?: (client: Client, body: MessageBody<N>) => void }

/** What clients ask of the node itself. */
export class Requests {
  readonly #handlers: Handlers

  constructor(options: RequestsOptions) {
    const { directory, leases, blobs, files, output, elsewhere } = options
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
        void blobs.put(hash, content).then((isTrue) => {
          if (!isTrue) client.fail(`shipped code ${hash} has another hash`)
        })
      },
      blobsWait: (client, { requestId, hashes, node }) => {
        void elsewhere.waitForBlobs(hashes, node).then((missing) => client.send('blobsReady', { requestId, missing }))
      },
      objectStored: (_, { name, bytes, owner }) => {
        if (!files.stored(name, bytes, owner)) throw new ProtocolError(`'${name}' is not the name of a stored value`)
        // Nobody is left to free it.
        if (directory.get(owner) === undefined) files.freed([name])
      },
      objectFreed: (_, { names }) => elsewhere.freeStored(names),
      storedFetch: (client, { requestId, name, bytes }) => {
        const tell = (error: string): void => client.send('storedFetched', { requestId, error })
        elsewhere.fetchStored(name, bytes).then(
          () => tell(''),
          (error: Error) => tell(error.message || 'it could not be brought here'),
        )
      },
      logFlush: (client, { requestId }) => {
        const flushed = Promise.all([output.flush(), elsewhere.flushOutput(client.id)])
        void flushed.then(() => client.send('logFlushed', { requestId }))
      },
      statusGet: (client, { requestId }) => client.send('statusReply', { requestId, status: options.status() }),
      nodeStop: () => options.onStop(),
      adminCall: (client, { requestId, name, args }) => {
        // Workers run users' code, and that is not the user.
        if (client.role === 'worker' && name !== 'nodes') throw new ProtocolError(`a worker may not call ${name}`)
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
