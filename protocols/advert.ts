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

/** Of the name of a device. */
export const gpuNameBytesMax = 96

/** What is not known of a device is left out. */
export interface GpuAdvert {
  readonly name?: string
  /** By which tasks ask for it. @example 'H100' */
  readonly type?: string
  readonly memoryBytes?: number
  /** How much of it nobody holds: 0 to 1. Left out when it is all of it. */
  readonly free?: number
}

// All of it together stays below 64 KiB, which is what gossip and a small message can have.
const nameBytesMax = 256
const shoalVersionBytesMax = 64
const addressesMax = 16
const addressBytesMax = 256
const resourceNamesMax = 256
const resourceNameBytesMax = 64
const gpusMax = 64
const gpuTypeBytesMax = 48
const labelBytesMax = 64

const count: Codec<number> = checked(f64, (value) => Number.isSafeInteger(value) && value >= 0, 'is not a whole number')
const amount: Codec<number> = checked(f64, Number.isFinite, 'is not a number')
const amountOrNone: Codec<number> = checked(amount, (value) => value >= 0, 'is less than nothing')

function checked<T>(codec: Codec<T>, isRight: (value: T) => boolean, problem: string): Codec<T> {
  return {
    write: (writer, value) => codec.write(writer, value),
    read(reader) {
      const value = codec.read(reader)
      if (!isRight(value)) throw new ProtocolError(`a field of an advert ${problem}: ${String(value).slice(0, 32)}`)
      return value
    },
  }
}

function resources(of: Codec<number>): Codec<ResourceSet> {
  return named(map(of, resourceNamesMax), resourceNameBytesMax)
}

/** Bytes that are no UTF-8 become longer as they are read, and must not be passed on as what nobody would take. */
function text(bytesMax: number): Codec<string> {
  return checked(string(bytesMax), (value) => Buffer.byteLength(value) <= bytesMax, 'is not a text')
}

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

const gpuName = text(gpuNameBytesMax)
const gpuType = text(gpuTypeBytesMax)
const share = checked(amountOrNone, (value) => value <= 1, 'is more than a whole')

/** Empty texts and no memory stand for what is not known. */
const gpu: Codec<GpuAdvert> = {
  write(writer, { name = '', type = '', memoryBytes = 0, free = 1 }) {
    gpuName.write(writer, name)
    gpuType.write(writer, type)
    writer.f64(memoryBytes)
    writer.f64(free)
  },
  read(reader) {
    const name = gpuName.read(reader)
    const type = gpuType.read(reader)
    const memoryBytes = count.read(reader)
    const free = share.read(reader)
    return {
      ...(name === '' ? {} : { name }),
      ...(type === '' ? {} : { type }),
      ...(memoryBytes === 0 ? {} : { memoryBytes }),
      ...(free === 1 ? {} : { free }),
    }
  },
}

/** Reading throws ProtocolError for what cannot be. */
export const advert: Codec<Advert> = struct({
  node: hex(nodeIdBytes),
  version: u48,
  name: text(nameBytesMax),
  shoalVersion: text(shoalVersionBytesMax),
  role: memberRole,
  startedAtMs: u48,
  addresses: list(text(addressBytesMax), addressesMax),
  total: resources(amountOrNone),
  available: resources(amount),
  gpus: list(gpu, gpusMax),
  labels: named(map(text(labelBytesMax), labelsMax), labelBytesMax),
  load: amountOrNone,
  workers: u32,
  leases: u32,
  queued: u32,
  store: struct({ usedBytes: count, bytesMax: count }),
  isOpen: bool,
})
