import { actorSettings, type ActorSettings } from './actor-messages.ts'
import { namedActor, type NamedActor } from './actor-names.ts'
import { objectIdBytes, type ObjectId } from './ids.ts'
import type { ResourceSet } from './resources.ts'
import { schedulingStrategy, type SchedulingStrategy } from './scheduling.ts'
import { f64, hex, list, map, string, struct, type Codec } from './schema.ts'
import { taskSpec, type TaskSpec } from './task-messages.ts'
import { wireValue, type WireValue } from './wire-value.ts'

/** What the arguments, and what the code without its files, of a detached actor may take together. */
export const keptBytesMax = 2 * 1024 * 1024

/** A function or a class, as its owner would describe it to who asks. */
export interface KeptFunction {
  readonly id: ObjectId
  readonly value: WireValue
}

export const keptFunctions: Codec<KeptFunction[]> = list(struct({ id: hex(objectIdBytes), value: wireValue }), 10_000)

/** All that is needed to start a detached actor, and to start it again, when the program that made it is gone. */
export interface KeptActor {
  readonly named: NamedActor
  /** Its arguments are values: nothing in them belongs to the creator. */
  readonly creation: TaskSpec
  readonly settings: ActorSettings
  /** The class, and all functions and classes that lead on from it. */
  readonly functions: KeptFunction[]
  /** Hashes of the files of code that they need. */
  readonly blobs: string[]
  readonly resources: ResourceSet
  readonly strategy: SchedulingStrategy
  readonly envVars: Readonly<Record<string, string>>
  readonly envKey: string
  /** Restarts that it has left; -1 for no end. */
  readonly restartsLeft: number
}

export const keptActor = struct({
  named: namedActor,
  creation: taskSpec,
  settings: actorSettings,
  functions: keptFunctions,
  blobs: list(hex(32), 100_000),
  resources: map(f64, 256),
  strategy: schedulingStrategy,
  envVars: map(string(64 * 1024), 1024),
  envKey: string(128),
  restartsLeft: f64,
}) satisfies { read: Codec<KeptActor>['read']; write: unknown }
