import type { BlobCache } from '../code/blob-cache.ts'
import type { Elsewhere } from '../server/requests.ts'
import type { FrameLinks } from '../server/relay.ts'
import { ObjectLostError } from '../../protocols/errors.ts'
import type { ObjectStore } from '../store/object-store.ts'

/** Links of a node on its own. */
export const noLinks: FrameLinks = { forward: () => false }

/** There is no elsewhere for a node on its own: what is not here is nowhere. */
export function nowhereElse(blobs: BlobCache, store: ObjectStore): Elsewhere {
  return {
    waitForBlobs: (hashes) => blobs.wait(hashes),
    fetchStored: ({ name }) =>
      Promise.reject(new ObjectLostError(`the value ${name} is not in the object store`, { name })),
    replicateStored: () => {},
    freeStored: (names) => store.freed(names),
    flushOutput: () => Promise.resolve(),
  }
}
