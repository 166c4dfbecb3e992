import type { ElectionMessage, Term } from '../../protocols/election.ts'
import type { NodeId } from '../../protocols/ids.ts'

export type ElectionEvent =
  /** Time has passed. To come at least every `jumpMs / 2`. */
  | { readonly type: 'tick' }
  | { readonly type: 'message'; readonly from: NodeId; readonly message: ElectionMessage }
  /** The term is on the disk, and will be there after a crash. */
  | { readonly type: 'fencePersisted'; readonly term: Term }
  /** The term could not be written, nor anything below it that was asked for: it may be on the disk, or not. */
  | { readonly type: 'fenceFailed'; readonly term: Term }
  /** These are the nodes that a link leads to. */
  | { readonly type: 'peersChanged'; readonly peers: readonly NodeId[] }
  /** The link to this node is down; a newer one may have taken its place already. */
  | { readonly type: 'linkDown'; readonly node: NodeId }
  /** An orderly end: what this node holds is released. Nothing is granted any more. */
  | { readonly type: 'stop' }

export type ElectionAction =
  /** To be answered by `fencePersisted` or `fenceFailed`, of this term or, when that was asked for too, of a higher one. */
  | { readonly type: 'persistFence'; readonly term: Term }
  /** This node is the head from now on. */
  | { readonly type: 'startActing'; readonly term: Term }
  | { readonly type: 'stopActing'; readonly term: Term; readonly reason: string }
  /** Whom this node obeys, itself included; undefined while there is nobody. */
  | { readonly type: 'headChanged'; readonly head: NodeId | undefined; readonly term: Term | undefined }
  /** A node that supports this head has said how it stands. */
  | { readonly type: 'reported'; readonly node: NodeId; readonly term: Term; readonly report: Uint8Array }

/** A message to one peer. */
export interface OutgoingMessage {
  readonly to: NodeId
  readonly message: ElectionMessage
  /** Set for a `support`: the shell is to fill its report in. */
  readonly wantsReport?: boolean
}

export interface ElectionStep {
  readonly messages: readonly OutgoingMessage[]
  readonly actions: readonly ElectionAction[]
}
