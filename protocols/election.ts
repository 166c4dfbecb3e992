import { ProtocolError } from './errors.ts'
import { nodeIdBytes, type NodeId } from './ids.ts'
import { bool, bytes, hex, list, struct, u32, u48, type Codec } from './schema.ts'

/** A period in which one node is the head. Terms are compared by their counter, then by the head's id. */
export interface Term {
  readonly counter: number
  readonly head: NodeId
}

/** Below zero when `a` is the lower. */
export function compareTerms(a: Term, b: Term): number {
  return a.counter - b.counter || (a.head < b.head ? -1 : a.head > b.head ? 1 : 0)
}

/** How good a head a node would make: the lower, the better. */
export interface Rank {
  /** 0 is best: on mains and by wire. */
  readonly kind: number
  readonly startedAtMs: number
}

export type ElectionMessage =
  | {
      readonly type: 'beat'
      /** The head that the sender supports. */
      readonly head: Term | undefined
      readonly fence: Term | undefined
      readonly acting: boolean
      /** Nodes that the sender holds as head. */
      readonly size: number
      readonly rank: Rank
      /** The sender will be heard again within that time. */
      readonly nextMs: number
    }
  | { readonly type: 'probe'; readonly round: number; readonly rank: Rank }
  | { readonly type: 'probeReply'; readonly round: number; readonly yes: boolean; readonly fence: Term | undefined }
  | {
      readonly type: 'claim'
      readonly term: Term
      readonly n: number
      /** The sender acts as head, and has not been told by the receiver how that stands. */
      readonly wantsReport: boolean
    }
  | { readonly type: 'support'; readonly term: Term; readonly n: number; readonly report: Uint8Array }
  | { readonly type: 'reject'; readonly term: Term; readonly fence: Term; readonly promised: boolean }
  | { readonly type: 'release'; readonly term: Term }

const term: Codec<Term> = struct({ counter: u48, head: hex(nodeIdBytes) })
const maybeTerm = list(term, 1)
const rank: Codec<Rank> = struct({ kind: u32, startedAtMs: u48 })
const reportBytesMax = 32 * 1024

const bodies = {
  beat: struct({ head: maybeTerm, fence: maybeTerm, acting: bool, size: u32, rank, nextMs: u32 }),
  probe: struct({ round: u32, rank }),
  probeReply: struct({ round: u32, yes: bool, fence: maybeTerm }),
  claim: struct({ term, n: u48, wantsReport: bool }),
  support: struct({ term, n: u48, report: bytes }),
  reject: struct({ term, fence: term, promised: bool }),
  release: struct({ term }),
} as const
const names = ['beat', 'probe', 'probeReply', 'claim', 'support', 'reject', 'release'] as const

/** How election messages cross the wire. */
export const electionMessage: Codec<ElectionMessage> = {
  write(writer, message) {
    writer.u8(names.indexOf(message.type))
    const { head, fence } = message as { head?: Term; fence?: Term }
    const lists =
      message.type === 'beat'
        ? { head: head === undefined ? [] : [head], fence: fence === undefined ? [] : [fence] }
        : {}
    const reply = message.type === 'probeReply' ? { fence: fence === undefined ? [] : [fence] } : {}
    ;(bodies[message.type] as Codec<unknown>).write(writer, { ...message, ...lists, ...reply })
  },
  read(reader) {
    const type = names[reader.u8()]
    if (type === undefined) throw new ProtocolError('an election message is of no known type')
    const body = bodies[type].read(reader) as Record<string, unknown>
    if (type === 'beat')
      return {
        ...body,
        type,
        head: (body['head'] as Term[])[0],
        fence: (body['fence'] as Term[])[0],
      } as ElectionMessage
    if (type === 'probeReply') return { ...body, type, fence: (body['fence'] as Term[])[0] } as ElectionMessage
    if (type === 'support' && (body['report'] as Uint8Array).length > reportBytesMax)
      throw new ProtocolError('a report is too large')
    return { ...body, type } as ElectionMessage
  },
}
