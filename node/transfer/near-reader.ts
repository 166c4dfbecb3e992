import type { NearValue } from '../store/near-value.ts'
import type { IncomingRoom, MemoryPlace } from '../store/transfer-store.ts'
import { chunkAt } from './chunks.ts'
import type { Pull, PullSource } from './pull.ts'

/** How values are read that lie in memory of this machine. */
export interface NearWay {
  /** Of this machine: who shows the same one is near. */
  readonly mark: string
  /** Rejects when the value is not there, or cannot be opened. */
  open(place: MemoryPlace, name: string, bytes: number): Promise<NearValue>
}

export interface NearReaderOptions {
  pull: Pull
  room: IncomingRoom
  source: PullSource
  value: NearValue
  /** True when no more is to be written into the room. */
  isStopped(): boolean
  /** So many bytes are there. */
  onPart(bytes: number): void
}

/** Chunks are read together up to so many bytes: after each such part others hear of it, and may stop it. */
const partBytes = 8 * 1024 * 1024
/** Copying is done by threads of their own; the next part is begun before this thread hears of the end of one. */
const partsAtOnce = 2

interface Part {
  readonly offset: number
  readonly length: number
  readonly indices: readonly number[]
}

/**
 * Copies all chunks that are wanted now from the memory of another node. Rejects when they cannot be had there any more; what
 * was not copied is then wanted as before.
 */
export async function readNear(options: NearReaderOptions): Promise<void> {
  const { pull, room, source, value, isStopped, onPart } = options
  const parts = partsOf(pull.bytes, pull.takeRest(source))
  let failure: Error | undefined
  const readOne = async ({ offset, length }: Part): Promise<boolean> => {
    if (failure !== undefined) return false
    try {
      if (isStopped() || pull.sources.get(source.node) !== source) throw new Error('it is not needed any more')
      await value.read(offset, room.slice(offset, length))
      return true
    } catch (error) {
      failure ??= error as Error
      return false
    }
  }
  const readParts = async (): Promise<void> => {
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      const isRead = await readOne(part)
      // It is right even if the node was given up meanwhile: it was seen to be there after it was read.
      pull.copied(source, part.indices, isRead)
      if (isRead) onPart(part.length)
    }
  }
  // All have to come to their end before anybody else may use the room.
  await Promise.all(Array.from({ length: partsAtOnce }, readParts))
  if (failure !== undefined) throw failure
}

/** Chunks that follow each other go together. */
function partsOf(bytes: number, indices: readonly number[]): Part[] {
  const parts: { offset: number; length: number; indices: number[] }[] = []
  for (const index of indices) {
    const { offset, length } = chunkAt(bytes, index)
    const last = parts.at(-1)
    if (last !== undefined && last.offset + last.length === offset && last.length + length <= partBytes) {
      last.length += length
      last.indices.push(index)
    } else parts.push({ offset, length, indices: [index] })
  }
  return parts
}
