import type { NamedActor, NameHold } from '../../protocols/actor-names.ts'
import type { Term } from '../../protocols/election.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { ownerOf, type ClientId, type NodeId, type ObjectId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { PeerMessageHandlers } from '../../protocols/peer-messages.ts'
import type { ClientDirectory } from '../server/client-directory.ts'
import type { LeaseEnd } from '../server/lease-end.ts'
import type { DirectoryAnswer } from './actor-directory.ts'
import { NameBook, type BookAction, type BookEvent } from './name-book.ts'
import { NameOffice, type NamePost } from './name-office.ts'

export interface NameDeskOptions {
  self: NodeId
  directory: Pick<ClientDirectory, 'get'>
  now(): number
}

const tickMs = 50

/** What the clients of this node want of names of actors, and what the head answers: hands both to the book, and does what it says. */
export class NameDesk {
  readonly #with: NameDeskOptions
  readonly #book: NameBook
  #post: NamePost | undefined
  #head: Term | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: NameDeskOptions) {
    this.#with = options
    this.#book = new NameBook(options.self)
  }

  /** Told when an actor that somebody here has in reserve is to be started again. */
  onLead: (named: NamedActor) => void = () => {}

  /** From now on there are others, and one of them is the head. */
  open(post: NamePost): void {
    this.#post = post
  }

  /** A node that is in no mesh is its own head. */
  openAlone(): void {
    const { self, now } = this.#with
    const post: NamePost = {
      send: (to, name, body) => queueMicrotask(() => (handlers[name as keyof typeof handlers] as Handle)(to, body)),
    }
    const office = new NameOffice({ post, now })
    const handlers = { ...office.handlers(), ...this.handlers() }
    const term = { counter: 0, head: self }
    office.start(term, [self])
    this.open(post)
    this.headChanged(term)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  /** All names that clients of this node have. */
  held(): NamedActor[] {
    return [...this.#book.held()]
  }

  // --- clients

  claim(client: LeaseEnd, { requestId, actor, namespace, name, description }: MessageBody<'actorNameClaim'>): void {
    if (ownerOf(actor) !== client.id) throw new ProtocolError('a client wants a name for an actor that is not its own')
    const named = { namespace, name, ...ownHold(client, actor), term: 0, description }
    this.#step({ type: 'claim', requestId, named, handedBy: '' })
  }

  /** `named.manager` is a client of this node: it is to have the name, or to be found by its id. */
  claimFor(requestId: number, named: NamedActor, handedBy: ClientId): void {
    this.#step({ type: 'claim', requestId, named, handedBy })
  }

  /** The actor is about to get another manager, on another node. */
  yield(hold: NameHold): void {
    this.#step({ type: 'yield', hold })
  }

  /** The actor, or what could start it again, is not in these hands any more. */
  giveBack(hold: NameHold, mayReturn = false): void {
    this.#step({ type: 'release', hold, mayReturn })
  }

  find(client: LeaseEnd, body: MessageBody<'actorFind'>): void {
    this.#step({ type: 'find', client: client.id, ...body })
  }

  release(client: LeaseEnd, { actor }: MessageBody<'actorNameRelease'>): void {
    this.giveBack(ownHold(client, actor))
  }

  clientGone(client: ClientId): void {
    this.#step({ type: 'clientGone', client })
  }

  // --- the head

  /** Whom this node obeys, and reaches; undefined while there is nobody. */
  headChanged(term: Term | undefined): void {
    this.#head = term
    this.#step({ type: 'head', term })
  }

  /** The link to a node is down. */
  linkDown(node: NodeId): void {
    if (this.#head?.head === node) this.headChanged(undefined)
  }

  handlers(): Pick<PeerMessageHandlers, DirectoryAnswer> {
    return {
      nameUnreported: (from, body) => this.#step({ type: 'nameUnreported', from, body }),
      nameReported: (from, body) => this.#step({ type: 'nameReported', from, body }),
      nameClaimed: (from, body) => this.#step({ type: 'nameClaimed', from, body }),
      nameFound: (from, body) => this.#step({ type: 'nameFound', from, body }),
      nameReleased: (from, body) => this.#step({ type: 'nameReleased', from, body }),
      nameLost: (from, body) => this.#step({ type: 'nameLost', from, body }),
      nameLead: (from, body) => this.#step({ type: 'nameLead', from, body }),
    }
  }

  #step(event: BookEvent): void {
    if (this.#isClosed) return
    for (const action of this.#book.step(event, this.#with.now())) this.#do(action)
    if (this.#timer !== undefined || !this.#book.wantsTick) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#step({ type: 'tick' })
    }, tickMs)
  }

  #do(action: BookAction): void {
    const { directory } = this.#with
    switch (action.type) {
      case 'answer':
        directory.get(action.client)?.send('actorNameAnswer', {
          requestId: action.requestId,
          code: '',
          ...action.answer,
          holder: [...action.answer.holder],
        })
        return
      case 'lost': {
        const { named, holder } = action
        const { actor, isReserve } = named
        const body = { actor, isReserve, holder: holder === undefined ? [] : [holder] }
        directory.get(named.manager)?.send('actorNameLost', body)
        return
      }
      case 'lead':
        this.onLead(action.named)
        return
      default:
        this.#post?.send(action.to, action.type, action.body)
    }
  }
}

/** What a client has of an actor of its own. */
function ownHold(client: LeaseEnd, actor: ObjectId): NameHold {
  return { actor, manager: client.id, epoch: 0, isReserve: false }
}

type Handle = (from: NodeId, body: unknown) => void
