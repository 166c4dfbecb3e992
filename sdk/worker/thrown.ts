import { inspect } from 'node:util'
import { withModuleFrames } from '../bundle.ts'
import { TaskError } from '../../protocols/errors.ts'

/** An Error for whatever a task has thrown, however odd: looking at it must not throw again. */
export function errorOf(thrown: unknown, taskName: string): Error {
  try {
    if (thrown instanceof Error) return withOrigin(thrown, taskName)
  } catch {
    // A revoked proxy, or a getter that throws: it is described like anything else that is no Error.
  }
  return new TaskError(`task ${taskName} threw something that is no Error: ${describe(thrown)}`, causeOf(thrown))
}

function causeOf(thrown: unknown): { cause?: unknown } {
  return typeof thrown === 'object' || typeof thrown === 'function' ? {} : { cause: thrown }
}

function describe(value: unknown): string {
  try {
    return typeof value === 'string' ? value : inspect(value, { depth: 2 }).slice(0, 1000)
  } catch {
    return 'a value that cannot be looked at'
  }
}

/** Causes in causes whose stacks are looked at. */
const depthMax = 8

const ownFrame = new RegExp(
  `${import.meta.dirname.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')}|node:internal|node:async_hooks`,
)

/** Cuts this worker's own frames off the stack, and says where the user's frames ran. */
function withOrigin(error: Error, taskName: string): Error {
  const stack = typeof error.stack === 'string' ? withModuleFrames(error.stack) : `${error.name}: ${error.message}`
  const lines = stack.split('\n')
  const firstOwn = lines.findIndex((line) => /^\s+at /.test(line) && ownFrame.test(line))
  const kept = firstOwn < 0 ? lines : lines.slice(0, firstOwn)
  const origin = `    in task ${taskName} (pid ${process.pid})`
  if (!kept.includes(origin)) kept.push(origin)
  try {
    error.stack = kept.join('\n')
    nameModules(error.cause)
  } catch {
    // A frozen error keeps the stack that it has.
  }
  return error
}

/** Has the stacks of an error's causes name the modules of the SDK. */
function nameModules(thrown: unknown): void {
  for (let cause = thrown, depth = 0; cause instanceof Error && depth < depthMax; cause = cause.cause, depth++) {
    const { stack = '' } = cause
    const named = withModuleFrames(stack)
    if (named !== stack) cause.stack = named
  }
}
