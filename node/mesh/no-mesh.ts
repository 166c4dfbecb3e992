import type { BlobCache } from '../code/blob-cache.ts'
import type { Elsewhere } from '../server/requests.ts'
import type { FrameLinks } from '../server/relay.ts'
import type { StoredFiles } from '../store/stored-files.ts'

/** Links of a node on its own. */
export const noLinks: FrameLinks = { forward: () => false }

/** There is no elsewhere for a node on its own: what is not here is nowhere. */
export function nowhereElse(blobs: BlobCache, files: StoredFiles): Elsewhere {
  return {
    waitForBlobs: (hashes) => blobs.wait(hashes),
    fetchStored: (name) => Promise.reject(new Error(`the value ${name} is not of this node`)),
    freeStored: (names) => files.freed(names),
    flushOutput: () => Promise.resolve(),
  }
}
