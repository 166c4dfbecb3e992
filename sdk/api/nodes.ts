import type { NodeReport } from '../../protocols/admin.ts'
import { currentRuntime } from '../runtime/current-runtime.ts'

/** A node of the mesh, as the node at hand sees it. */
export type NodeInfo = NodeReport

/**
 * The nodes of the mesh, the one at hand first: what they have, what of it is free, and which of them is the head. What is
 * told of other nodes may be some seconds old.
 *
 * Rejects with NotInitializedError before `init()`; NotSupportedError when the node at hand is on its own.
 *
 * @example
 * for (const { name, resources } of await nodes()) console.log(name, resources.available['CPU'])
 */
export async function nodes(): Promise<NodeInfo[]> {
  return await currentRuntime().admin('nodes', {})
}
