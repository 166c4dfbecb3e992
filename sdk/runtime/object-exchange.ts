import { ShoalError } from '../../protocols/errors.ts'
import { nodeOf, ownerOf, type ClientId, type ObjectId } from '../../protocols/ids.ts'
import type { MessageBody, MessageHandlers, MessageName } from '../../protocols/messages.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import { BorrowedObjects } from '../objects/borrowed-objects.ts'
import type { Settlement } from '../objects/borrow-ledger.ts'
import type { Question } from '../objects/loan-checks.ts'
import { LentOn, type MarkAsk } from '../objects/lent-on.ts'
import { engineCollector } from '../objects/collector.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { ObjectRef } from '../objects/object-ref.ts'
import { OwnedObjects } from '../objects/owned-objects.ts'
import { ownerDied, ownersNodeDied, type Requests } from './requests.ts'

export interface ObjectExchangeHost {
  readonly connection: Pick<NodeConnection, 'send' | 'welcome'>
  readonly requests: Requests
  encodeError(error: unknown): WireValue
  /** Nobody borrows an object of ours any more. */
  onReleased(): void
  /** A borrower could not read that value of an object of ours. Resolves when there is more to say, with an error if that. */
  checkLost(record: ObjectRecord, name: string): Promise<ShoalError | undefined>
  /** Sends what has been lent and is still here. */
  sendLent(): void
}

/** A value from another process, and the refs inside it. */
export interface Received {
  value: WireValue
  holds: ObjectRef[] | undefined
}

/** Objects and refs on their way between this process and others: who owns, who borrows, who asks for a value. */
export class ObjectExchange {
  readonly owned: OwnedObjects
  readonly #host: ObjectExchangeHost
  readonly #clientId: ClientId
  readonly #borrowed: BorrowedObjects
  readonly #lentOn = new LentOn()
  /** What clients wait for here, to be forgotten when they are gone. */
  readonly #serving = new Map<ClientId, Set<() => void>>()

  constructor(host: ObjectExchangeHost, collector = engineCollector) {
    const { connection } = host
    this.#host = host
    this.#clientId = connection.welcome.clientId
    const on = { released: () => host.onReleased(), question: (question: Question) => this.#ask(question) }
    this.owned = new OwnedObjects(this.#clientId, on, collector)
    const messages = {
      add: (id: ObjectId) => this.#tell('borrowAdd', { ...this.address(id), object: id, borrower: this.#clientId }),
      release: (id: ObjectId, lender: ClientId, count: number) =>
        this.#tell('borrowRelease', { ...this.address(id), object: id, lender, count }),
      fetch: (record: ObjectRecord) => void this.#fetch(record),
    }
    this.#borrowed = new BorrowedObjects(this.#clientId, messages, collector)
  }

  handlers(): MessageHandlers {
    const { owned, requests } = { owned: this.owned, requests: this.#host.requests }
    return {
      objectGet: (body) => this.#serve(body),
      // What is lent is taken at once: the next message may be that its lender is gone.
      objectReply: ({ requestId, from, value }) =>
        requests.answer(requestId, { value, holds: this.adopt(value, from) }),
      borrowAdd: ({ object, borrower, from }) => owned.addBorrower(object, borrower, from),
      borrowRelease: ({ object, from, lender, count }) => owned.releaseBorrower(object, from, lender, count),
      borrowAsk: ({ from, lender, number }) => this.#settle(this.#borrowed.ledger.ask(from, lender, number)),
      borrowSettle: ({ from, ...settlement }) => owned.settle(from, settlement),
      borrowMarkAsk: ({ from, borrower, number }) => {
        const ask = { owner: from, borrower, number }
        if (this.#lentOn.ask(ask)) this.#mark(ask)
      },
      borrowMark: ({ from, owner, number }) => this.#settle(this.#borrowed.ledger.mark(owner, from, number)),
      borrowMarked: ({ from, borrower, number }) => owned.marked(borrower, from, number),
      borrowsLost: ({ from, node }) => owned.borrowsLost(from, node),
      clientGone: ({ client }) => {
        owned.borrowerGone(client)
        this.#onGone((id) => id === client, ownerDied(client))
        this.#lentOn.clientGone(client)
        this.#settle(this.#borrowed.ledger.clientGone(client))
      },
      nodeGone: ({ node, reason }) => {
        owned.nodeGone(node)
        this.#onGone((id) => nodeOf(id) === node, ownersNodeDied(node, reason))
        for (const to of this.#lentOn.nodeGone(node)) this.#tell('borrowsLost', { to, from: this.#clientId, node })
        this.#settle(this.#borrowed.ledger.nodeGone(node))
      },
      nodeBack: ({ node }) => {
        this.#borrowed.ledger.nodeBack(node)
        const { marks, unheard } = this.#lentOn.nodeBack(node)
        for (const to of unheard) this.#host.connection.send('borrowsLost', { to, from: this.#clientId, node })
        for (const ask of marks) this.#mark(ask)
        owned.nodeBack(node)
      },
    }
  }

  /** Says something about borrows to an owner. */
  #tell<N extends MessageName>(name: N, body: MessageBody<N> & { to: ClientId }): void {
    this.#lentOn.say(body.to)
    this.#host.connection.send(name, body)
  }

  /** Asks about who borrows objects of ours. */
  #ask({ borrower, lender, number, isLenderGone }: Question): void {
    const { connection } = this.#host
    const from = this.#clientId
    if (isLenderGone) connection.send('borrowAsk', { to: borrower, from, lender, number })
    // After this turn: the question may come up in the middle of what its answer is about.
    else if (lender === from) queueMicrotask(() => this.#mark({ owner: from, borrower, number }))
    else connection.send('borrowMarkAsk', { to: lender, from, borrower, number })
  }

  /** Says to the borrower and to the owner that what they have heard of this lender by now is all that it has lent so far. */
  #mark({ owner, borrower, number }: MarkAsk): void {
    const { connection } = this.#host
    const from = this.#clientId
    this.#host.sendLent()
    if (borrower === from) this.#settle(this.#borrowed.ledger.mark(owner, from, number))
    else connection.send('borrowMark', { to: borrower, from, owner, number })
    if (owner === from) {
      this.owned.marked(borrower, from, number)
      return
    }
    this.#tell('borrowMarked', { to: owner, from, borrower, number })
    // The mark may be lost, too.
    this.#lentOn.add(owner, borrower)
  }

  /** Tells owners what has arrived here of what they have asked about. */
  #settle(settlements: readonly Settlement[]): void {
    for (const { owner, ...settlement } of settlements) {
      this.#tell('borrowSettle', { to: owner, from: this.#clientId, ...settlement })
    }
  }

  /** Objects of others that this process has, and those that it has let go of without knowing so yet. */
  get borrowingCount(): number {
    return this.#borrowed.ledger.size
  }

  /** The two ends of a message about an object: its owner and this process. */
  address(id: ObjectId): { to: ClientId; from: ClientId } {
    return { to: ownerOf(id), from: this.#clientId }
  }

  /** Objects of others that this process has refs to. */
  borrowed(): Iterable<ObjectRecord> {
    return this.#borrowed.records()
  }

  isOwn(id: ObjectId): boolean {
    return ownerOf(id) === this.#clientId
  }

  /** @param lender undefined when nobody has told the owner that we borrow it */
  #record(id: ObjectId, lender?: ClientId): ObjectRecord {
    if (!this.isOwn(id)) return lender === undefined ? this.#borrowed.acquire(id) : this.#borrowed.adopt(id, lender)
    const record = this.owned.find(id)
    if (record !== undefined) return record
    // Every holder keeps it alive, so this is a ref that was made up, or kept by something that does not count.
    const lost = this.owned.create()
    lost.settle(this.#host.encodeError(freed(id)))
    return lost
  }

  /**
   * Refs inside a value that was sent to us; its sender has told their owners that it lends them to us. To be called once for
   * each value that comes, or what was lent is never given back.
   */
  adopt(wire: WireValue, lender: ClientId): ObjectRef[] | undefined {
    return wire.refs.length === 0 ? undefined : wire.refs.map((id) => new ObjectRef(this.#record(id, lender)))
  }

  /** A ref that something else here keeps alive, as a rule. */
  acquireRef(id: ObjectId): ObjectRef {
    return new ObjectRef(this.#record(id))
  }

  /**
   * To be called before a value goes to `receiver`, once for each time that it goes: tells the owners of the refs inside. What
   * refers to them here must do so until then.
   */
  lend(wire: WireValue, receiver: ClientId): void {
    for (const id of wire.refs) {
      const owner = ownerOf(id)
      if (owner === this.#clientId) this.owned.addBorrower(id, receiver, this.#clientId)
      else if (owner !== receiver) {
        this.#tell('borrowAdd', { ...this.address(id), object: id, borrower: receiver })
        this.#lentOn.add(owner, receiver)
      }
    }
  }

  /**
   * A value of that name could not be read: asks the owner for another one. Who waits for the record's value gets that, or
   * an error; or the same again, when the owner can read it. False when that is not needed, or the owner is being asked.
   */
  refetch(record: ObjectRecord, lostName: string): boolean {
    const { value } = record
    if (value !== undefined && (value.kind !== 'stored' || value.name !== lostName)) return false
    const isAsked = value === undefined && record.fetch === undefined
    if (isAsked) return false
    record.lose()
    record.fetch = undefined
    void this.#fetch(record, lostName)
    return true
  }

  async #fetch(record: ObjectRecord, lostName = ''): Promise<void> {
    const { connection, requests } = this.#host
    try {
      const { value, holds } = await requests.ask<Received>(ownerOf(record.id), (requestId) =>
        connection.send('objectGet', { ...this.address(record.id), requestId, object: record.id, lostName }),
      )
      record.settle(value, holds)
    } catch (error) {
      // Its owner may be in reach again when the object is lent anew.
      this.#borrowed.forget(record)
      record.settle(this.#host.encodeError(error))
    }
  }

  #serve({ from: client, requestId, object: id, lostName }: MessageBody<'objectGet'>): void {
    const record = this.owned.find(id)
    const reply = (value: WireValue): void => {
      this.lend(value, client)
      this.#host.connection.send('objectReply', { to: client, from: this.#clientId, requestId, value })
    }
    if (record === undefined) {
      reply(this.#host.encodeError(freed(id)))
      return
    }
    if (record.value !== undefined && lostName === '') {
      reply(record.value)
      return
    }
    let waiting = this.#serving.get(client)
    if (waiting === undefined) this.#serving.set(client, (waiting = new Set()))
    let isForgotten = false
    const forget = (): void => {
      isForgotten = true
      record.forget(onReady)
    }
    const end = (value: WireValue): void => {
      waiting.delete(forget)
      reply(value)
    }
    const onReady = (): void => end(record.value as WireValue)
    waiting.add(forget)
    if (lostName === '') record.whenReady(onReady)
    else {
      void this.#host.checkLost(record, lostName).then((error) => {
        if (isForgotten) return
        if (error === undefined) record.whenReady(onReady)
        else end(this.#host.encodeError(error))
      })
    }
  }

  /** Clients have gone: by themselves, or with their node. */
  #onGone(isGone: (client: ClientId) => boolean, error: ShoalError): void {
    this.#host.requests.failClients(isGone, error)
    this.#failBorrowed(error, isGone)
    for (const [client, waiting] of this.#serving) {
      if (!isGone(client)) continue
      for (const forget of waiting) forget()
      this.#serving.delete(client)
    }
  }

  /** Whatever is still awaited from some owners, or from anybody, will not come. */
  #failBorrowed(error: ShoalError, isMeant: (owner: ClientId) => boolean = () => true): void {
    this.#borrowed.fail(isMeant, this.#host.encodeError(error))
  }

  failAll(error: ShoalError): void {
    this.#failBorrowed(error)
  }
}

function freed(id: ObjectId): ShoalError {
  return new ShoalError('OBJECT_FREED', `the object ${id} has been freed: nothing referred to it any more`)
}
