import type { RemoteFunction } from '../api/remote-function.ts'
import type { AnyFunction } from '../functions/function-table.ts'
import { currentRuntime } from '../runtime/current-runtime.ts'

/** The function that a remote function stands for, ready to be called in this process. */
export async function functionHere(remote: RemoteFunction<never, unknown, never>): Promise<AnyFunction> {
  const { table } = currentRuntime().functions
  return table.load((remote as unknown as RemoteFunction).prepare(table).id)
}
