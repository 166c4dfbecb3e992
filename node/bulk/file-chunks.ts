import { open } from 'node:fs/promises'
import { ObjectLostError } from '../../protocols/errors.ts'

const chunkBytes = 256 * 1024

/** The content of a file, piece by piece. It is opened when the first is asked for; ObjectLostError when it is not there. */
export async function* fileChunks(file: string): AsyncGenerator<Uint8Array> {
  await using handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw new ObjectLostError('it has been deleted')
    throw error
  })
  for (;;) {
    // A new one each time: who gets it may keep it for a while.
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafeSlow(chunkBytes), 0, chunkBytes, null)
    if (bytesRead === 0) return
    yield bytesRead === chunkBytes ? buffer : buffer.subarray(0, bytesRead)
  }
}
