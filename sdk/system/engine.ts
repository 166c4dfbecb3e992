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

/**
 * Makes a view on memory that is not the engine's. It would collect garbage for each large one, on the whole more than it
 * can gain: such a view is measured by the limit of the heap. Small ones, of which there may be many, count as they always do.
 */
export function makeView<T>(bytes: number, make: () => T): T {
  if (bytes < largeBytesMin) return make()
  setFlagsFromString('--external-memory-accounted-in-global-limit')
  try {
    return make()
  } finally {
    setFlagsFromString('--no-external-memory-accounted-in-global-limit')
  }
}
