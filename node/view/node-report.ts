import type { NodeReport } from '../../protocols/admin.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { ViewedNode } from './mesh-view.ts'

export interface ReportCircumstances {
  self: NodeId
  head: { node: NodeId; term: number } | undefined
  /** The wall clock, since a start is told as a time of day. */
  nowMs: number
  roundTripMs?: number | undefined
}

/** A node of the view as people and programs are told of it. */
export function nodeReport(
  { advert, state, isLinked }: ViewedNode,
  { self, head, nowMs, roundTripMs }: ReportCircumstances,
): NodeReport {
  const { node, total, available, startedAtMs, shoalVersion, version: _, ...rest } = advert
  return {
    ...rest,
    id: node,
    isSelf: node === self,
    isHead: node === head?.node,
    ...(node === head?.node ? { term: head.term } : {}),
    state,
    version: shoalVersion,
    upMs: Math.max(0, nowMs - startedAtMs),
    resources: { total, available },
    linked: isLinked,
    ...(roundTripMs === undefined ? {} : { roundTripMs }),
  }
}
