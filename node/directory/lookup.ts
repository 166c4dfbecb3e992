import { setTimeout as delay } from 'node:timers/promises'
import type { NodeId } from '../../protocols/ids.ts'

export interface Lookup {
  /** Nodes to ask: all of one step at once, then those of the next. */
  steps: readonly (readonly NodeId[])[]
  /** Nodes that hold it, as that one knows; none when it knows of none. Rejects when it does not answer. */
  ask(node: NodeId, signal: AbortSignal): Promise<readonly NodeId[]>
  /** What is left to do when nobody has named a holder. Not all of those who were asked may have answered. */
  otherwise(haveAllAnswered: boolean, signal: AbortSignal): Promise<readonly NodeId[]>
  /** The nodes of a step have so long to answer until those of the next are asked, too. */
  patienceMs: number
  signal: AbortSignal
}

/**
 * Asks step by step, until somebody names a holder: the first answer that does ends it all, whosever it is. One that does
 * not answer holds up nobody for longer than the others' patience. Rejects with the signal's reason.
 */
export async function lookUp({ steps, ask, otherwise, patienceMs, signal }: Lookup): Promise<readonly NodeId[]> {
  const { promise: named, resolve: end } = Promise.withResolvers<readonly NodeId[]>()
  const over = new AbortController()
  const until = AbortSignal.any([signal, over.signal])
  let unanswered = 0

  const askOne = async (node: NodeId): Promise<void> => {
    unanswered += 1
    const holders = await ask(node, until).catch(() => undefined)
    if (holders === undefined) return
    unanswered -= 1
    if (holders.length > 0) end(holders)
  }
  const askAll = async (): Promise<readonly NodeId[]> => {
    for (const step of steps) {
      const patience = delay(patienceMs, undefined, { signal: until })
      await Promise.race([Promise.all(step.map(askOne)), patience])
      until.throwIfAborted()
    }
    return otherwise(unanswered === 0, until)
  }

  try {
    return await Promise.race([named, askAll()])
  } finally {
    over.abort()
  }
}
