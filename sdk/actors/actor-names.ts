import { actorDescriptionBytesMax, type NamedActor } from '../../protocols/actor-names.ts'
import {
  ActorNameTakenError,
  ActorNotFoundError,
  InfeasibleError,
  InvalidArgumentError,
  MembershipError,
  ProtocolError,
  ShoalError,
  UnreachableError,
} from '../../protocols/errors.ts'
import { nodeOf, type ObjectId } from '../../protocols/ids.ts'
import type { KeptActor } from '../../protocols/kept-actor.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { NodeConnection } from '../client/node-connection.ts'
import type { Requests } from '../runtime/requests.ts'
import type { ActorDescription } from './actor-handle.ts'

type NameAnswer = Omit<MessageBody<'actorNameAnswer'>, 'requestId'>

export interface ActorNamesHost {
  readonly connection: Pick<NodeConnection, 'send'>
  readonly requests: Requests
}

/** A name, and where it is known. */
export interface NamePlace {
  readonly namespace: string
  readonly name: string
}

/** What became of the wish for a name: it was given; another actor has it; or neither, because of the error. */
export type NameOutcome =
  | { readonly type: 'given'; readonly holder: NamedActor | undefined }
  | { readonly type: 'taken'; readonly holder: NamedActor }
  | { readonly type: 'failed'; readonly error: ShoalError }

/** What this process has its node ask about names of actors. */
export class ActorNames {
  readonly #host: ActorNamesHost

  constructor(host: ActorNamesHost) {
    this.#host = host
  }

  /** Wants a name for an actor of this process. Rejects when the node is gone. */
  async claim(actor: ObjectId, place: NamePlace, description: string): Promise<NameOutcome> {
    const { namespace, name } = place
    const answer = await this.#ask((requestId) =>
      this.#host.connection.send('actorNameClaim', { requestId, actor, namespace, name, description }),
    )
    return outcomeOf(answer, { namespace, name, actor })
  }

  /** Wants an actor made that outlives this process. Rejects when the node is gone. */
  async keep(kept: KeptActor): Promise<NameOutcome> {
    const answer = await this.#ask((requestId) => this.#host.connection.send('actorKeep', { requestId, kept }))
    const { namespace, name, actor } = kept.named
    return outcomeOf(answer, { namespace, name, actor })
  }

  /** The actor that has the name. Rejects with ActorNotFoundError, or UnreachableError when the mesh has had no head for long. */
  async find(place: NamePlace): Promise<NamedActor> {
    const { outcome, holder, text } = await this.#ask((requestId) =>
      this.#host.connection.send('actorFind', { requestId, isId: false, ...place }),
    )
    const [named] = holder
    if (outcome === 'found' && named !== undefined) return named
    if (outcome !== 'none')
      throw new UnreachableError(`${shown(place)} was not found: ${text}`, { details: { ...place } })
    throw new ActorNotFoundError(
      `no actor is called ${shown(place)}: it has ended, or was not made yet, or has its name in another namespace; .options({ name, getIfExists: true }).remote() makes one where there is none`,
      { ...place },
    )
  }

  /**
   * Who leads a detached actor, or will start it again; undefined when there is nobody. Rejects like `find`.
   */
  async leaderOf(actor: ObjectId): Promise<NamedActor | undefined> {
    const { outcome, holder, text } = await this.#ask((requestId) =>
      this.#host.connection.send('actorFind', { requestId, isId: true, namespace: '', name: actor }),
    )
    if (outcome === 'found' || outcome === 'none') return holder[0]
    throw new UnreachableError(`the actor ${actor} was not found: ${text}`, { details: { actor } })
  }

  /** The actor is dead. */
  release(actor: ObjectId): void {
    this.#host.connection.send('actorNameRelease', { actor })
  }

  #ask(send: (requestId: number) => void): Promise<NameAnswer> {
    return this.#host.requests.ask<NameAnswer>(undefined, send)
  }
}

function outcomeOf(
  { outcome, holder: [holder], code, text }: NameAnswer,
  details: { readonly namespace: string; readonly name: string; readonly actor: ObjectId },
): NameOutcome {
  if (outcome === 'given') return { type: 'given', holder }
  if (outcome === 'taken' && holder !== undefined) return { type: 'taken', holder }
  const known = { ...details }
  if (code === 'INFEASIBLE') return { type: 'failed', error: new InfeasibleError(text, known) }
  if (code === 'MEMBERSHIP') return { type: 'failed', error: new MembershipError(text, known) }
  if (outcome === 'full') return { type: 'failed', error: new ShoalError('TOO_MANY_NAMES', text, { details: known }) }
  if (code === '' || code === 'UNREACHABLE') {
    return { type: 'failed', error: new UnreachableError(text, { details: known }) }
  }
  return { type: 'failed', error: new ShoalError(code, text, { details: known }) }
}

export function nameTaken(place: NamePlace, { actor, manager }: NamedActor): ActorNameTakenError {
  const node = nodeOf(manager)
  return new ActorNameTakenError(
    `the name ${shown(place)} belongs to the actor ${actor} (client ${manager}, node ${node}): getActor() gives a handle of that one, and so does the option getIfExists`,
    { ...place, holder: actor, client: manager, node },
  )
}

export function shown({ namespace, name }: NamePlace): string {
  return `${JSON.stringify(name)} in namespace ${JSON.stringify(namespace)}`
}

/** What others need for a handle. Throws InvalidArgumentError when the class has so many methods that it is too much. */
export function describedText(description: ActorDescription): string {
  const text = JSON.stringify(description)
  if (Buffer.byteLength(text) <= actorDescriptionBytesMax) return text
  throw new InvalidArgumentError(
    `actor ${description.className} cannot have a name: its methods take more than ${actorDescriptionBytesMax} bytes to describe`,
    { class: description.className },
  )
}

/** The description that another process has given. Throws ProtocolError when it is none. */
export function describedBy(text: string): ActorDescription {
  let described: Partial<ActorDescription>
  try {
    described = (JSON.parse(text) ?? {}) as Partial<ActorDescription>
  } catch {
    throw new ProtocolError('the description of an actor is no JSON')
  }
  const { className, methods, concurrencyGroups, name, namespace, isDetached, maxTaskRetries, maxPendingCalls } =
    described
  const isRight =
    [className, name, namespace].every((each) => typeof each === 'string') &&
    typeof methods === 'object' &&
    methods !== null &&
    Object.values(methods).every((each) => typeof each === 'boolean') &&
    Array.isArray(concurrencyGroups) &&
    concurrencyGroups.every((each) => typeof each === 'string') &&
    typeof isDetached === 'boolean' &&
    typeof described.hasExitHook === 'boolean' &&
    Number.isInteger(maxTaskRetries) &&
    Number.isInteger(maxPendingCalls)
  if (!isRight) throw new ProtocolError('the description of an actor is not complete')
  return described as ActorDescription
}
