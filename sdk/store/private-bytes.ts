import type { StoredBytes } from './object-store.ts'
import { ViewGroup } from './views.ts'

/** A value that lies in this process's own memory. */
export function privateBytes(bytes: Uint8Array): StoredBytes {
  return {
    shown: bytes,
    views: new ViewGroup(),
    own: (offset, length) => new Uint8Array(bytes.subarray(offset, offset + length)),
    close: () => {},
  }
}
