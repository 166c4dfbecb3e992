import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Has the engine find what is no longer used, now. The program stands still meanwhile. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
}

/**
 * Views on shared memory count as memory of the program, and the engine would collect garbage for each one of some megabytes.
 * From here on they count by the same measure as the heap; the store says when it is getting full.
 */
export function expectLargeViews(): void {
  setFlagsFromString('--external-memory-accounted-in-global-limit')
}
