import { NotInitializedError } from '../../protocols/errors.ts'
import type { Runtime } from './runtime.ts'

/** On the global object, so that two copies of this package in one process share their node. */
const key = Symbol.for('shoal.runtime')
type Holder = { [key]?: Runtime | undefined }

/** The runtime of this process. Throws NotInitializedError before `init()` and after `shutdown()`. */
export function currentRuntime(): Runtime {
  const runtime = (globalThis as Holder)[key]
  if (runtime === undefined) throw new NotInitializedError()
  return runtime
}

export function setCurrentRuntime(runtime: Runtime | undefined): void {
  ;(globalThis as Holder)[key] = runtime
}

export function hasRuntime(): boolean {
  return (globalThis as Holder)[key] !== undefined
}
