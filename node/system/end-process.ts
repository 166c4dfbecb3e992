import { createRequire, flushCompileCache } from 'node:module'
import type * as Koffi from 'koffi'

/**
 * Ends this process at once. What was written to standard output is there already, and open files have been closed by their
 * owners.
 *
 * `process.exit()` waits for the threads of the engine, one of which may wait in turn for this thread to collect garbage, as it
 * does when a function is being compiled at that moment and the memory for code is used up: the process would never end.
 */
export function endProcess(): never {
  const code = Number(process.exitCode ?? 0)
  try {
    flushCompileCache()
    const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi
    koffi.load(null).func('void _exit(int code)')(code)
  } catch {
    // A system for which there is no build of koffi.
  }
  process.exit(code)
}
