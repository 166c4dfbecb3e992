import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Has the engine find what is no longer used, now. The program stands still meanwhile. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
}

/** The engine looks at its limit each time that so much memory of another kind than its own appears. */
const largeBytesMin = 4 * 1024 * 1024

/** The engine's settings while a large view is made, and as they are otherwise. */
const forLargeViews = '--external-memory-accounted-in-global-limit --no-incremental-marking'
const otherwise = '--no-external-memory-accounted-in-global-limit --incremental-marking'

/**
 * Makes a view on memory that is not the engine's. It would begin to look for garbage for each large one, on the whole more
 * than it can gain: it does so only when large views have come to half of the heap's limit since it looked last, which
 * settings cannot change. Small ones, of which there may be many, count as they always do.
 */
export function makeView<T>(bytes: number, make: () => T): T {
  if (bytes < largeBytesMin) return make()
  setFlagsFromString(forLargeViews)
  try {
    return make()
  } finally {
    setFlagsFromString(otherwise)
  }
}
