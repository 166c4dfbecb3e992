import { ProtocolError } from './errors.ts'
import { nodeIdBytes, type NodeId } from './ids.ts'
import { memberRole, type MemberRole } from './membership.ts'
import type { ResourceSet } from './resources.ts'
import { bool, f64, hex, list, map, string, struct, u32, u48, type Codec } from './schema.ts'
import { labelsMax, type Labels } from './scheduling.ts'

/** What a node says of itself: by gossip to all, and directly to the head. A newer one takes the place of an older one. */
export interface Advert {
  readonly node: NodeId
  /** Counts up with every change, over restarts, too: it begins with the time of the start in milliseconds. */
  readonly version: number
  /** The machine's name, or what `--name` says. */
  readonly name: string
  readonly shoalVersion: string
  readonly role: MemberRole
  readonly startedAtMs: number
  /** Where others reach it, best first. */
  readonly addresses: readonly string[]
  readonly total: ResourceSet
  /** Less than nothing for a while where tasks came back from `get()`. */
  readonly available: ResourceSet
  readonly gpus: readonly GpuAdvert[]
  readonly labels: Labels
  /** Load average of the last minute, divided by the number of cores. */
  readonly load: number
  readonly workers: number
  readonly leases: number
  /** Requests that wait in its own queue. */
  readonly queued: number
  readonly store: { readonly usedBytes: number; readonly bytesMax: number }
  /** True when it takes new work. */
  readonly isOpen: boolean
}

/** What is not known of a device is left out. */
export interface GpuAdvert {
  readonly name?: string
  readonly memoryBytes?: number
}

/** An advert that would be larger than this is not one. */
export const advertBytesMax = 48 * 1024
const nameBytesMax = 256
const shoalVersionBytesMax = 64
export const addressesMax = 16
export const addressBytesMax = 512
const resourceNamesMax = 256
const resourceNameBytesMax = 64
const gpusMax = 64
const labelBytesMax = 64

/** A count of anything that is not a fraction, not negative and not endless. */
const count: Codec<number> = checked(f64, (value) => Number.isSafeInteger(value) && value >= 0, 'is not a whole number')
const amount: Codec<number> = checked(f64, Number.isFinite, 'is not a number')
const amountOrNone: Codec<number> = checked(amount, (value) => value >= 0, 'is less than nothing')

function checked<T>(codec: Codec<T>, isRight: (value: T) => boolean, problem: string): Codec<T> {
  return {
    write: (writer, value) => codec.write(writer, value),
    read(reader) {
      const value = codec.read(reader)
      if (!isRight(value)) throw new ProtocolError(`an amount of an advert ${problem}: ${String(value)}`)
      return value
    },
  }
}

function resources(of: Codec<number>): Codec<ResourceSet> {
  return named(map(of, resourceNamesMax), resourceNameBytesMax)
}

/** A map whose names are bounded and which has each of them once. */
function named<T>(codec: Codec<Record<string, T>>, bytesMax: number): Codec<Readonly<Record<string, T>>> {
  return {
    write: (writer, value) => codec.write(writer, value),
    read(reader) {
      const value = codec.read(reader)
      const long = Object.keys(value).find((name) => Buffer.byteLength(name) > bytesMax)
      if (long !== undefined) throw new ProtocolError(`a name of ${long.length} characters is over its limit`)
      return value
    },
  }
}

/** An empty name and no memory stand for what is not known. */
const gpu: Codec<GpuAdvert> = {
  write(writer, { name = '', memoryBytes = 0 }) {
    writer.string(name)
    writer.f64(memoryBytes)
  },
  read(reader) {
    const name = reader.string(nameBytesMax)
    const memoryBytes = count.read(reader)
    return { ...(name === '' ? {} : { name }), ...(memoryBytes === 0 ? {} : { memoryBytes }) }
  },
}

/** Throws ProtocolError for what cannot be. Who reads one from the network gives it no more than `advertBytesMax`. */
export const advert: Codec<Advert> = struct({
  node: hex(nodeIdBytes),
  version: u48,
  name: string(nameBytesMax),
  shoalVersion: string(shoalVersionBytesMax),
  role: memberRole,
  startedAtMs: u48,
  addresses: list(string(addressBytesMax), addressesMax) as Codec<readonly string[]>,
  total: resources(amountOrNone),
  available: resources(amount),
  gpus: list(gpu, gpusMax) as Codec<readonly GpuAdvert[]>,
  labels: named(map(string(labelBytesMax), labelsMax), labelBytesMax),
  load: amountOrNone,
  workers: u32,
  leases: u32,
  queued: u32,
  store: struct({ usedBytes: count, bytesMax: count }),
  isOpen: bool,
})
