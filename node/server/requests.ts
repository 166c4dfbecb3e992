import { ProtocolError } from '../../protocols/errors.ts'
import type { Frame } from '../../protocols/frame.ts'
import { decodeBody, type MessageBody, type MessageName } from '../../protocols/messages.ts'
import type { BlobCache } from '../code/blob-cache.ts'
import type { StoredFiles } from '../store/stored-files.ts'
import type { OutputRelay } from '../workers/output-relay.ts'
import type { Client } from './client.ts'
import type { ClientTable } from './client-table.ts'
import type { LeaseDesk } from './lease-desk.ts'

export interface RequestsOptions {
  clients: ClientTable
  leases: LeaseDesk
  blobs: BlobCache
  files: StoredFiles
  output: OutputRelay
  status(): unknown
  onStop(): void
}

type Handlers = { [N in MessageName]?: (client: Client, body: MessageBody<N>) => void }

/** What clients ask of the node itself. */
export class Requests {
  readonly #handlers: Handlers

  constructor(options: RequestsOptions) {
    const { clients, leases, blobs, files, output } = options
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
      blobsWait: (client, { requestId, hashes }) => {
        void blobs.wait(hashes).then((missing) => client.send('blobsReady', { requestId, missing }))
      },
      objectStored: (_, { name, bytes, owner }) => {
        if (!files.stored(name, bytes, owner)) throw new ProtocolError(`'${name}' is not the name of a stored value`)
        // Nobody is left to free it.
        if (clients.get(owner) === undefined) files.freed([name])
      },
      objectFreed: (_, { names }) => files.freed(names),
      logFlush: (client, { requestId }) => {
        void output.flush().then(() => client.send('logFlushed', { requestId }))
      },
      statusGet: (client, { requestId }) => client.send('statusReply', { requestId, status: options.status() }),
      nodeStop: () => options.onStop(),
    }
  }

  take(client: Client, name: MessageName, frame: Frame): void {
    const handler = this.#handlers[name] as ((client: Client, body: unknown) => void) | undefined
    if (handler === undefined) throw new ProtocolError(`a node takes no ${name} message`)
    handler(client, decodeBody(name, frame.body))
  }
}
