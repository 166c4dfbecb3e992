import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { ObjectLostError } from '../../protocols/errors.ts'
import { objectId } from '../../protocols/ids.ts'
import { unreadableValue } from '../../protocols/unreadable-value.ts'
import type { ValueOwner } from './object-store.ts'
import { storeFull } from './store-full.ts'

/** One system call moves less than 2 GiB, so larger values go in pieces. */
const pieceBytesMax = 1024 ** 3

/** Writes the parts to a new file, one after the other. Throws ObjectStoreFullError, and leaves nothing behind, when the disk is full. */
export function writeStoredFile(file: string, parts: readonly Uint8Array[]): void {
  const descriptor = openSync(file, 'wx', 0o600)
  try {
    for (let piece of inPieces(parts)) {
      while (piece.length > 0) piece = piece.subarray(writeSync(descriptor, piece))
    }
  } catch (error) {
    unlinkSync(file)
    const { code } = error as NodeJS.ErrnoException
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    if (code === 'ENOSPC' || code === 'EDQUOT') throw storeFull(bytes, { file, disk: 'the disk is full' })
    throw error
  } finally {
    closeSync(descriptor)
  }
}

/** The sum of the parts' bytes. */
export function sumOf(parts: readonly Uint8Array[]): number {
  let sum = 0
  for (const piece of inPieces(parts)) sum = crc32(piece, sum)
  return sum
}

interface FilePlace {
  file: string
  offset: number
  /** The sum of its bytes, if there is one. */
  crc: number | undefined
}

/**
 * Reads a value from a file.
 *
 * Rejects with ObjectLostError when it is not there, or not what was written; with ObjectUnavailableError when the system
 * does not read it this time.
 */
export async function readStoredFile(
  place: FilePlace,
  name: string,
  bytes: number,
  { owner, sequence }: ValueOwner,
): Promise<Uint8Array> {
  try {
    return await readFile(place, name, bytes)
  } catch (error) {
    if (error instanceof ObjectLostError) throw error
    const object = sequence === 0 ? '' : objectId(owner, sequence)
    throw unreadableValue({ name, bytes, object, reason: (error as Error).message })
  }
}

async function readFile({ file, offset, crc }: FilePlace, name: string, bytes: number): Promise<Uint8Array> {
  const lost = (reason: string): ObjectLostError =>
    new ObjectLostError(`the value ${name} (${bytes} bytes) cannot be read: ${reason}`, { name, bytes, reason })
  await using handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENOENT' ? lost('its file is gone') : error
  })
  const size = (await handle.stat()).size - offset
  if (size < bytes) throw lost('its file was cut short')
  if (offset === 0 && size !== bytes) throw lost(`its file has ${size} bytes`)
  const target = Buffer.allocUnsafeSlow(bytes)
  for (let at = 0; at < bytes;) {
    const { bytesRead } = await handle.read(target, at, Math.min(bytes - at, pieceBytesMax), offset + at)
    if (bytesRead === 0) throw lost('its file was cut short')
    at += bytesRead
  }
  if (crc === undefined || sumOf([target]) === crc) return target
  throw lost('its file is damaged: its checksum is another')
}

function* inPieces(parts: readonly Uint8Array[]): Generator<Uint8Array> {
  for (const part of parts) {
    for (let at = 0; at < part.length; at += pieceBytesMax) yield part.subarray(at, at + pieceBytesMax)
  }
}
