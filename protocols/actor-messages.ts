import { list, shownText, string, struct, u32, type Codec } from './schema.ts'
import { taskSpec, type TaskSpec } from './task-messages.ts'

/** The most bytes of the name of a method. */
export const methodNameBytesMax = 512
/** Concurrency groups that an actor may have, and methods that one may list. */
export const concurrencyGroupsMax = 64
export const methodsMax = 1000

/** A call of a method, on its way from who calls to the actor's worker. */
export interface ActorCall {
  method: string
  /** The concurrency group that it counts for; '' for that of its method. */
  group: string
  /** Its `functionId` is not used. */
  task: TaskSpec
}

export const actorCall: Codec<ActorCall> = struct({
  method: string(methodNameBytesMax),
  group: string(methodNameBytesMax),
  task: taskSpec,
})

/** How the worker of an actor runs its calls, and what the actor can know of itself. */
export interface ActorSettings {
  /** Its name and where that is known; '' for none. */
  name: string
  namespace: string
  className: string
  /** How often it was started before. */
  restarts: number
  /** Calls that may run at a time; 0 for what suits the class. */
  maxConcurrency: number
  groups: { name: string; maxConcurrency: number; methods: string[] }[]
}

export const actorSettings: Codec<ActorSettings> = struct({
  name: string(methodNameBytesMax),
  namespace: string(methodNameBytesMax),
  className: shownText(methodNameBytesMax),
  restarts: u32,
  maxConcurrency: u32,
  groups: list(
    struct({
      name: string(methodNameBytesMax),
      maxConcurrency: u32,
      methods: list(string(methodNameBytesMax), methodsMax),
    }),
    concurrencyGroupsMax,
  ),
})
