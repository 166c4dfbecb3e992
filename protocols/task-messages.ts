import { clip } from './clip.ts'
import { objectIdBytes, type ObjectId } from './ids.ts'
import type { Codec } from './schema.ts'
import { list } from './schema.ts'
import { wireValue, type WireValue } from './wire-value.ts'
import { limits } from './limits.ts'

/** A task on its way from its owner to a worker. */
export interface TaskSpec {
  /** Number of its first result; names the task between this owner and the worker. */
  sequence: number
  functionId: ObjectId
  /** How often it has been tried before. */
  attempt: number
  /** Results: 0 for a stream, else how many objects the returned value makes. */
  returnCount: number
  /** The worker sends off all earlier results before it starts this one, so that a crash is blamed on the right task. */
  isCareful: boolean
  /** Stream items that the owner has already, from an earlier try; they are made again but not sent. */
  streamSkip: number
  /** The stream may end after so many items, those that are skipped included; 0 when all are wanted. */
  streamLimit: number
  name: string
  /** The arguments, one array. */
  args: WireValue
  /** Arguments that were given as refs: their values, by position, and whose owner is to be asked if one is lost. */
  resolved: { position: number; object: ObjectId; value: WireValue }[]
  /** The placement group that it runs in, for its code to know; empty for none. */
  group: string
}

const resolvedArgument: Codec<TaskSpec['resolved'][number]> = {
  write(writer, argument) {
    writer.u32(argument.position)
    writer.hex(argument.object, objectIdBytes)
    wireValue.write(writer, argument.value)
  },
  read: (reader) => ({
    position: reader.u32(),
    object: reader.hex(objectIdBytes),
    value: wireValue.read(reader),
  }),
}
const resolvedArguments = list(resolvedArgument, 1_000_000)

const flagCareful = 1
const flagExtras = 2
const flagGroup = 4
/** For people: longer ones are cut off. */
const nameBytesMax = 1024
/** Bundles and their labels. */
const groupCharsMax = 512 * 1024

export const taskSpec: Codec<TaskSpec> = {
  write(writer, task) {
    const hasExtras = task.resolved.length > 0 || task.attempt > 0 || task.returnCount !== 1 || task.streamSkip > 0
    writer.u48(task.sequence)
    writer.hex(task.functionId, objectIdBytes)
    const hasGroup = task.group !== ''
    writer.u8((task.isCareful ? flagCareful : 0) | (hasExtras ? flagExtras : 0) | (hasGroup ? flagGroup : 0))
    writer.string(clip(task.name, nameBytesMax))
    wireValue.write(writer, task.args)
    if (hasExtras) {
      writer.u32(task.attempt)
      writer.u32(task.returnCount)
      writer.u48(task.streamSkip)
      writer.u48(task.streamLimit)
      resolvedArguments.write(writer, task.resolved)
    }
    if (hasGroup) writer.string(task.group)
  },
  read(reader) {
    const sequence = reader.u48()
    const functionId = reader.hex(objectIdBytes)
    const flags = reader.u8()
    const name = reader.string(nameBytesMax)
    const args = wireValue.read(reader)
    const hasExtras = (flags & flagExtras) !== 0
    return {
      sequence,
      functionId,
      isCareful: (flags & flagCareful) !== 0,
      name,
      args,
      attempt: hasExtras ? reader.u32() : 0,
      returnCount: hasExtras ? reader.u32() : 1,
      streamSkip: hasExtras ? reader.u48() : 0,
      streamLimit: hasExtras ? reader.u48() : 0,
      resolved: hasExtras ? resolvedArguments.read(reader) : [],
      group: (flags & flagGroup) === 0 ? '' : reader.string(groupCharsMax),
    }
  },
}

export const taskStatuses = ['ok', 'error', 'cancelled', 'streamEnd'] as const

/** What came of a task, on its way from the worker to the owner. */
export interface TaskResult {
  sequence: number
  status: (typeof taskStatuses)[number]
  /** How long the user's code took. */
  durationUs: number
  values: WireValue[]
}

const wireValues = list(wireValue, limits.frameBytesMax)

export const taskResult: Codec<TaskResult> = {
  write(writer, result) {
    writer.u48(result.sequence)
    writer.u8(taskStatuses.indexOf(result.status))
    writer.u32(Math.min(result.durationUs, 0xffff_ffff))
    wireValues.write(writer, result.values)
  },
  read: (reader) => ({
    sequence: reader.u48(),
    status: taskStatuses[reader.u8()] ?? 'error',
    durationUs: reader.u32(),
    values: wireValues.read(reader),
  }),
}
