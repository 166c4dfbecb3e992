import { clientIdBytes, objectIdBytes, type ClientId, type ObjectId } from './ids.ts'
import { bool, hex, string, struct, u32, u48, type Codec } from './schema.ts'

/** The most bytes of a name, and of a namespace. */
export const actorNameBytesMax = 512
/** The most bytes of what is told of an actor to those who look for it. */
export const actorDescriptionBytesMax = 32 * 1024

/** An actor that has a name, or that is detached, so that it can be found by its id. */
export interface NamedActor {
  readonly namespace: string
  /** '' for a detached one without a name. */
  readonly name: string
  readonly actor: ObjectId
  /** The client that leads its life: of its node, and only of that, the mesh hears of the name. */
  readonly manager: ClientId
  /** How often another manager has taken it over. */
  readonly epoch: number
  /** Its manager does not lead it, but can start it again when the one that does is gone. */
  readonly isReserve: boolean
  /** The counter of the term in which the name was given; 0 until then. */
  readonly term: number
  /** What a handle needs to know, as JSON: nodes do not read it. */
  readonly description: string
}

export const namedActor: Codec<NamedActor> = struct({
  namespace: string(actorNameBytesMax),
  name: string(actorNameBytesMax),
  actor: hex(objectIdBytes),
  manager: hex(clientIdBytes),
  epoch: u32,
  isReserve: bool,
  term: u48,
  description: string(actorDescriptionBytesMax),
})

/** What one name of one namespace is in tables: no two names have the same. Actors without a name have their id for one. */
export function nameKey({ namespace, name, actor }: Pick<NamedActor, 'namespace' | 'name' | 'actor'>): string {
  return name === '' ? actor : JSON.stringify([namespace, name])
}

/**
 * Which of two actors keeps a name that both were given, by heads that did not know of each other: below zero when it is
 * `a`. The one whose name was given in the lower term; in one term the one with the lower id. Of one actor that two managers
 * lead, because the one was taken for gone, that of the lower epoch: it has not lost its state.
 */
export function compareNamed(a: NamedActor, b: NamedActor): number {
  if (a.actor !== b.actor) return a.term - b.term || compareTexts(a.actor, b.actor)
  return a.epoch - b.epoch || compareTexts(a.manager, b.manager)
}

/** What names one actor in the hands of one manager. */
export type NameHold = Pick<NamedActor, 'actor' | 'manager' | 'epoch' | 'isReserve'>

/** {@link NameHold}, for tables. */
export function holdKey({ actor, manager, epoch, isReserve }: NameHold): string {
  return `${actor} ${manager} ${epoch} ${isReserve}`
}

export function holdOf({ actor, manager, epoch, isReserve }: NameHold): NameHold {
  return { actor, manager, epoch, isReserve }
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
