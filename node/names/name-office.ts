import type { NamedActor } from '../../protocols/actor-names.ts'
import type { Term } from '../../protocols/election.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { PeerMessageBody, PeerMessageHandlers, PeerMessageName } from '../../protocols/peer-messages.ts'
import { ActorDirectory, type DirectoryEvent, type DirectoryQuestion } from './actor-directory.ts'

/** Sends messages to nodes, to the own one too. */
export interface NamePost {
  send<N extends PeerMessageName>(to: NodeId, name: N, body: PeerMessageBody<N>): unknown
}

export interface NameOfficeOptions {
  post: NamePost
  now(): number
}

const tickMs = 250

/** The directory of named actors, while this node is the head: gives it its clock and its links. */
export class NameOffice {
  readonly #with: NameOfficeOptions
  #directory: ActorDirectory | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: NameOfficeOptions) {
    this.#with = options
  }

  /** @param nodes this one, and those that a link leads to */
  start(term: Term, nodes: Iterable<NodeId>): void {
    this.stop()
    this.#directory = new ActorDirectory(term)
    for (const node of nodes) this.#step({ type: 'nodeUp', node })
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#directory = undefined
  }

  /** All actors that have names, as far as nodes have told of them; undefined while this node is not the head. */
  names(): NamedActor[] | undefined {
    return this.#directory === undefined ? undefined : [...this.#directory.names()]
  }

  nodeUp(node: NodeId): void {
    this.#step({ type: 'nodeUp', node })
  }

  nodeDown(node: NodeId): void {
    this.#step({ type: 'nodeDown', node })
  }

  handlers(): Pick<PeerMessageHandlers, DirectoryQuestion> {
    return {
      nameReport: (from, body) => this.#step({ type: 'nameReport', from, body }),
      nameClaim: (from, body) => this.#step({ type: 'nameClaim', from, body }),
      nameFind: (from, body) => this.#step({ type: 'nameFind', from, body }),
      nameRelease: (from, body) => this.#step({ type: 'nameRelease', from, body }),
    }
  }

  #step(event: DirectoryEvent): void {
    const directory = this.#directory
    if (directory === undefined) return
    for (const { to, type, body } of directory.step(event, this.#with.now())) this.#with.post.send(to, type, body)
    if (this.#timer !== undefined || !directory.wantsTick) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#step({ type: 'tick' })
    }, tickMs)
  }
}
