import { mkdirSync, statfsSync, type StatsFs } from 'node:fs'
import { constants, open, rm, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { blockBytesOf, blockHeaderBytes } from '../../protocols/store-segment.ts'
import { makeSpillParent } from './spill-directory.ts'
import type { DiskPlace, SpillPlace } from './store-events.ts'

const sliceBytes = 4 * 1024 * 1024
/** What is left free on the disk for others: this share, or so many bytes if that is less. */
const keptShare = 0.05
const keptBytesMax = 1024 ** 3

export const diskFull = 'the disk is full'

/** What is read from the disk is not what was written there. */
export class SpillDamagedError extends Error {}

/** A value on the disk that is read in pieces. */
export interface SpilledValue {
  read(offset: number, length: number): Promise<Uint8Array>
  close(): void
}

/** The memory from which values go to the disk, and into which they come back. */
export interface SpillMemory {
  slice(at: number, length: number): Uint8Array
}

/** Files for values that there is no room for in memory. They are of no use to anybody but this node, while it runs. */
export class SpillFiles implements SpillPlace {
  readonly directory: string
  #lastNumber = 0

  constructor(directory: string) {
    this.directory = directory
  }

  nextFile(): string {
    this.#lastNumber += 1
    return path.join(this.directory, `values-${this.#lastNumber}`)
  }

  problemWith(bytes: number): string {
    try {
      return bytes <= this.#freeBytes() ? '' : diskFull
    } catch (error) {
      return `values cannot be written to ${this.directory}: ${(error as Error).message}`
    }
  }

  /** What may still be written. Makes the folder anew when it is gone: somebody tidies up what looks old, say. */
  #freeBytes(): number {
    const { bavail, blocks, bsize } = this.#fileSystem()
    return Math.max(0, bavail * bsize - Math.min(blocks * bsize * keptShare, keptBytesMax))
  }

  #fileSystem(): StatsFs {
    try {
      return statfsSync(this.directory)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      makeSpillParent(path.dirname(this.directory))
      // Not one that another has made there meanwhile.
      mkdirSync(this.directory, { mode: 0o700 })
      return statfsSync(this.directory)
    }
  }

  /** Writes blocks to a new file, one after the other. Gives the sums of their values. Leaves nothing behind when it fails. */
  async write(
    file: string,
    blocks: readonly { offset: number; bytes: number }[],
    memory: SpillMemory,
  ): Promise<number[]> {
    await using handle = await openDirectly(file)
    const crcs: number[] = []
    let position = 0
    try {
      for (const { offset, bytes } of blocks) {
        let crc = 0
        for (let done = 0; done < blockBytesOf(bytes);) {
          const length = Math.min(sliceBytes, blockBytesOf(bytes) - done)
          const slice = memory.slice(offset + done, length)
          const valueEnd = Math.min(length, blockHeaderBytes + bytes - done)
          crc = crc32(slice.subarray(done === 0 ? blockHeaderBytes : 0, valueEnd), crc)
          await writeAll(handle, slice, position)
          done += length
          position += length
        }
        crcs.push(crc)
      }
    } catch (error) {
      await rm(file, { force: true }).catch(() => {})
      throw error
    }
    return crcs
  }

  /** Reads a value back into a block. Rejects with SpillDamagedError when it is not what was written. */
  async read(from: DiskPlace, bytes: number, offset: number, memory: SpillMemory): Promise<void> {
    await using handle = await openToRead(from.file)
    await readChecked(handle, from, bytes, (done, length) => memory.slice(offset + blockHeaderBytes + done, length))
  }

  /**
   * Opens a value that is to be read in pieces, after a look at all of it, unless there was one (`isChecked`): who is given a
   * piece cannot tell whether it is right.
   *
   * Rejects with SpillDamagedError when it is not what was written.
   */
  async openValue(from: DiskPlace, bytes: number, isChecked: boolean): Promise<SpilledValue> {
    const handle = await openToRead(from.file)
    try {
      if (!isChecked) {
        const buffer = Buffer.allocUnsafeSlow(Math.min(sliceBytes, bytes))
        await readChecked(handle, from, bytes, (_done, length) => buffer.subarray(0, length))
      }
    } catch (error) {
      await handle.close()
      throw error
    }
    return {
      async read(offset, length) {
        const piece = Buffer.allocUnsafeSlow(length)
        for (let done = 0; done < length;) {
          const { bytesRead } = await handle.read(piece, done, length - done, from.offset + offset + done)
          if (bytesRead === 0) throw new SpillDamagedError(cutShort)
          done += bytesRead
        }
        return piece
      },
      close: () => void handle.close().catch(() => {}),
    }
  }
}

const cutShort = 'its file on the disk was cut short'

async function openToRead(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'r')
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ENOENT'
      ? new SpillDamagedError('its file on the disk is gone')
      : error
  }
}

/** Reads all of a value, slice by slice, into what `sliceAt` gives for it. */
async function readChecked(
  handle: FileHandle,
  from: DiskPlace,
  bytes: number,
  sliceAt: (done: number, length: number) => Uint8Array,
): Promise<void> {
  let crc = 0
  for (let done = 0; done < bytes;) {
    const slice = sliceAt(done, Math.min(sliceBytes, bytes - done))
    const { bytesRead } = await handle.read(slice, 0, slice.length, from.offset + done)
    if (bytesRead === 0) throw new SpillDamagedError(cutShort)
    crc = crc32(slice.subarray(0, bytesRead), crc)
    done += bytesRead
  }
  if (crc !== from.crc) throw new SpillDamagedError('its file on the disk is damaged: its checksum is another')
}

/** Past the cache of the system where that is possible: it would keep a second copy, in memory, of what is to leave it. */
async function openDirectly(file: string): Promise<FileHandle> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
  try {
    return await open(file, flags | constants.O_DIRECT, 0o600)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
    await rm(file, { force: true })
    return open(file, flags, 0o600)
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, position + at)
    at += bytesWritten
  }
}
