import { NodeDiedError, ObjectLostError, ProtocolError, ShoalError, UnreachableError } from '../../protocols/errors.ts'
import { ownerOf } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { ReplicatedValue } from '../store/replica-book.ts'
import { isStoredName } from '../store/stored-name.ts'
import type { Client } from './client.ts'
import type { ClientDirectory } from './client-directory.ts'

/** What brings values of other nodes here, and frees them there. */
export interface ValuesElsewhere {
  /** Brings a value here. Rejects with an error that says why not, and with the signal's reason. */
  fetchStored(value: StoredQuestion, signal: AbortSignal): Promise<void>
  /** A value of a client of this node is to be kept on several nodes. */
  replicateStored(value: ReplicatedValue): void
  /** Values, of this node or others, that are needed no more. */
  freeStored(names: readonly string[]): void
}

export type StoredQuestion = Pick<MessageBody<'storedOpen'>, 'name' | 'bytes' | 'owner' | 'object' | 'priority'>

export interface StoreDeskOptions {
  store: ObjectStore
  directory: ClientDirectory
  elsewhere: ValuesElsewhere
}

/** Who waits for an answer about a value. */
type Asker = Pick<Client, 'id' | 'send' | 'usesStore'>

/** A value may leave the memory again before the one who asked for it has come to read it; its file may not be readable. */
const opensMax = 3

/** What clients have to say about the object store. */
export class StoreDesk {
  readonly #with: StoreDeskOptions
  /** Second connections whose clients wait for room. */
  readonly #asking = new Map<Client, AbortController>()
  /** Values that are brought here, by the questions of clients that wait for them. */
  readonly #fetching = new Map<string, { question: StoredQuestion; abort: AbortController }>()

  constructor(options: StoreDeskOptions) {
    this.#with = options
  }

  /** On the second connection of `client`, which waits for the answer before it asks for anything else. */
  allocate(channel: Client, client: Client, body: MessageBody<'storeAllocate'>): void {
    const { requestId, name, bytes, owner, isAhead } = body
    checkValue(name, bytes)
    client.usesStore = true
    if (this.#asking.has(channel)) throw new ProtocolError('it asks for room while it waits for room')
    const nothing = { offset: 0, generation: 0, file: '', message: '', details: {} }
    const abort = new AbortController()
    this.#asking.set(channel, abort)
    const { store } = this.#with
    const room = { name, bytes, owner, writer: client.id, signal: abort.signal }
    const given = isAhead ? store.allocateAhead(room) : store.allocate(room)
    given.then(
      (place) => {
        this.#asking.delete(channel)
        // It may have been given the room before it said that it does not need it.
        const isNeeded = !abort.signal.aborted && !channel.isClosed && !client.isClosed
        if (place !== undefined && !isNeeded) this.#with.store.abandon(name)
        if (place === undefined || !isNeeded) channel.send('storePlaced', { ...nothing, requestId, kind: 'refused' })
        else if (place.in === 'file')
          channel.send('storePlaced', { ...nothing, requestId, kind: 'file', file: place.file })
        else {
          const { offset, generation } = place
          channel.send('storePlaced', { ...nothing, requestId, kind: 'memory', offset, generation })
        }
      },
      (error: unknown) => {
        this.#asking.delete(channel)
        const { message } = error as Error
        const details = error instanceof ShoalError ? error.details : {}
        channel.send('storePlaced', { ...nothing, requestId, kind: 'refused', message, details })
      },
    )
  }

  /** What was asked for on the second connection of a client is not needed. */
  abandonAsked(channel: Client, body: MessageBody<'storeAbandon'>): void {
    const asking = this.#asking.get(channel)
    if (asking === undefined) this.abandon(body)
    else asking.abort(new NodeDiedError('the program does not need it'))
  }

  /** Nobody waits there any more. */
  channelClosed(channel: Client): void {
    this.#asking.get(channel)?.abort(new NodeDiedError('the program waits no more'))
  }

  stored({ name, ...value }: MessageBody<'objectStored'>): void {
    const { store, directory } = this.#with
    if (!store.seal({ name, ...value })) throw new ProtocolError(`'${name}' is not the name of a stored value`)
    // Nobody is left to free it.
    if (directory.isGone(value.owner)) store.freed([name])
  }

  abandon({ name }: MessageBody<'storeAbandon'>): void {
    this.#with.store.abandon(name)
  }

  replicate(client: Client, { name, bytes, object, copies }: MessageBody<'storedReplicate'>): void {
    checkValue(name, bytes)
    if (ownerOf(object) !== client.id) throw new ProtocolError('it asks for replicas of what it does not own')
    this.#with.elsewhere.replicateStored({ name, bytes, owner: client.id, object, copies })
  }

  freed({ names }: MessageBody<'objectFreed'>): void {
    this.#with.elsewhere.freeStored(names)
  }

  open(client: Asker, body: MessageBody<'storedOpen'>): void {
    checkValue(body.name, body.bytes)
    client.usesStore = true
    void this.#answer(client, body)
  }

  async #answer(client: Asker, { requestId, ...question }: MessageBody<'storedOpen'>): Promise<void> {
    const nothing = { offset: 0, generation: 0, file: '', crc: 0, code: '', message: '' }
    try {
      const place = await this.#open(question, questionKey(client, requestId))
      if (place.in === 'memory') {
        const { offset, generation } = place
        client.send('storedOpened', { ...nothing, requestId, kind: 'memory', offset, generation })
      } else {
        const { offset, file, crc } = place
        client.send('storedOpened', { ...nothing, requestId, kind: 'file', offset, file, crc })
      }
    } catch (error) {
      const { message } = error as Error
      const code = error instanceof ShoalError ? error.code : ''
      client.send('storedOpened', { ...nothing, requestId, kind: 'error', code, message })
    }
  }

  /** The client waits for it no more. The answer says what has kept it, if that is room. */
  cancel(client: Client, { requestId }: MessageBody<'storedCancel'>): void {
    const fetching = this.#fetching.get(questionKey(client, requestId))
    if (fetching === undefined) return
    const { name, bytes } = fetching.question
    fetching.abort.abort(
      this.#with.store.waitsForRoom(name, bytes) ?? new UnreachableError('the program waits no more'),
    )
  }

  async #fetch(question: StoredQuestion, key: string): Promise<void> {
    const abort = new AbortController()
    this.#fetching.set(key, { question, abort })
    try {
      await this.#with.elsewhere.fetchStored(question, abort.signal)
    } finally {
      this.#fetching.delete(key)
    }
  }

  async #open(
    { damaged, ...question }: StoredQuestion & { damaged: string },
    key: string,
  ): ReturnType<ObjectStore['locate']> {
    const { store } = this.#with
    let loss: unknown = damaged === '' ? undefined : await store.lookAgain(question.name, damaged)
    for (let tries = 1; ; tries++) {
      try {
        if (!store.has(question.name)) await this.#fetch(question, key)
      } catch (error) {
        // What has become of it here says more than that nobody else has it, or that it could never be brought here.
        const isHopeless = error instanceof ObjectLostError || question.bytes > store.bytesMax
        throw isHopeless ? (loss ?? error) : error
      }
      try {
        return await store.locate(question.name)
      } catch (error) {
        if (error instanceof ObjectLostError) loss = error
        if (tries === opensMax) throw error
      }
    }
  }
}

function questionKey(client: Asker, requestId: number): string {
  return `${client.id} ${requestId}`
}

function checkValue(name: string, bytes: number): void {
  if (!isStoredName(name)) throw new ProtocolError(`'${name}' is not the name of a stored value`)
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw new ProtocolError(`a stored value cannot have ${bytes} bytes`)
}
