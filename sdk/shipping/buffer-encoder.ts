import { types } from 'node:util'
import type { Capture } from './capture.ts'
import { globalPathOf } from './known-values.ts'
import type { GraphNode } from './manifest.ts'
import { Refusal, type Trail } from './refusal.ts'

type ViewNode = Extract<GraphNode, { type: 'view' }>

interface CapturedView {
  readonly node: ViewNode
  /** What it sees of its buffer. */
  readonly start: number
  readonly end: number
  readonly trail: Trail
}

/** A part of a buffer, and the views that share it. */
interface Part {
  start: number
  end: number
  /** Bytes that the views see, all together. */
  seenBytes: number
  readonly views: CapturedView[]
}

/** Buffers of this size travel as a whole, however little of them is seen. */
const smallBytesMax = 1024

/** The items of no kind of view are larger: a part begins where every kind of view may lie. */
const alignment = 8

/**
 * Array buffers, and the views on them. Views on one buffer share its memory on the worker too, but what none of them
 * sees stays behind when it is more than what they see.
 */
export class BufferEncoder {
  readonly #capture: Capture
  readonly #views = new Map<ArrayBuffer, CapturedView[]>()

  constructor(capture: Capture) {
    this.#capture = capture
  }

  arrayBuffer(value: ArrayBuffer, trail: Trail): GraphNode {
    refuseDetached(value)
    this.#capture.addBytes(value.byteLength, trail)
    return bufferNode(value, 0, value.byteLength)
  }

  /** The buffer is still missing: `finish` puts it in. */
  view(value: NodeJS.ArrayBufferView, trail: Trail): GraphNode {
    const { buffer } = value
    if (types.isSharedArrayBuffer(buffer)) {
      throw new Refusal('it holds shared memory', 'copy it to an ArrayBuffer: memory is not shared between machines')
    }
    refuseDetached(buffer)
    const isOpen = isGrowing(value)
    const { byteOffset, byteLength } = value
    const view = Buffer.isBuffer(value) ? 'Buffer' : (globalPathOf(Object.getPrototypeOf(value))?.[0] ?? 'Uint8Array')
    const node: ViewNode = { type: 'view', view, buffer: [undefined], byteOffset }
    if (!isOpen) node.length = 'length' in value ? value.length : byteLength
    const views = this.#views.get(buffer)
    const captured = { node, start: byteOffset, end: byteOffset + byteLength, trail }
    if (views === undefined) this.#views.set(buffer, [captured])
    else views.push(captured)
    return node
  }

  /** Now it is known what is seen of each buffer. */
  finish(): void {
    for (const [buffer, views] of this.#views) {
      for (const part of this.#partsOf(buffer, views)) this.#addPart(buffer, part)
    }
  }

  #partsOf(buffer: ArrayBuffer, views: CapturedView[]): Part[] {
    if (this.#capture.has(buffer) || isWhole(buffer, views)) {
      return [{ start: 0, end: buffer.byteLength, seenBytes: 0, views }]
    }
    const parts: Part[] = []
    for (const view of views.toSorted((a, b) => a.start - b.start)) {
      const { start, end } = view
      const part = parts.at(-1)
      if (part !== undefined && Math.max(part.end, end) - part.start <= (part.seenBytes + end - start) * 2) {
        part.end = Math.max(part.end, end)
        part.seenBytes += end - start
        part.views.push(view)
      } else {
        parts.push({ start: start - (start % alignment), end, seenBytes: end - start, views: [view] })
      }
    }
    return parts
  }

  #addPart(buffer: ArrayBuffer, { start, end, views }: Part): void {
    const { trail } = views[0] as CapturedView
    let ref: number
    if (this.#capture.has(buffer)) ref = this.#capture.encode(buffer, trail) as number
    else {
      this.#capture.addBytes(end - start, trail)
      ref = this.#capture.nodes.push(bufferNode(buffer, start, end)) - 1
    }
    for (const { node } of views) {
      node.buffer = ref
      node.byteOffset -= start
    }
  }
}

function bufferNode(buffer: ArrayBuffer, start: number, end: number): GraphNode {
  const bytes = new Uint8Array(buffer.slice(start, end))
  return { type: 'arrayBuffer', bytes, ...(buffer.resizable ? { maxByteLength: buffer.maxByteLength } : {}) }
}

function isWhole(buffer: ArrayBuffer, views: readonly CapturedView[]): boolean {
  if (buffer.resizable || buffer.byteLength <= smallBytesMax) return true
  let seenBytes = 0
  for (const { start, end } of views) seenBytes += end - start
  return buffer.byteLength <= seenBytes * 2
}

/** True for a view that was made without a length on a resizable buffer: it always reaches to the end. */
function isGrowing(value: NodeJS.ArrayBufferView): boolean {
  if (!(value.buffer as ArrayBuffer).resizable) return false
  // Nothing tells but a change of size, so that a copy is changed.
  const { copy, buffer } = copyOf(value)
  const { byteOffset, byteLength } = copy
  const itemBytes = 'BYTES_PER_ELEMENT' in value ? value.BYTES_PER_ELEMENT : 1
  if (buffer.maxByteLength - buffer.byteLength >= itemBytes) {
    buffer.resize(buffer.maxByteLength)
    return copy.byteLength !== byteLength
  }
  buffer.resize(Math.min(byteOffset + itemBytes, buffer.byteLength))
  try {
    return copy.byteLength > 0
  } catch {
    // A DataView throws when it is out of bounds.
    return false
  }
}

function copyOf(value: NodeJS.ArrayBufferView): { copy: NodeJS.ArrayBufferView; buffer: ArrayBuffer } {
  try {
    const copy = structuredClone(value)
    return { copy, buffer: copy.buffer as ArrayBuffer }
  } catch {
    throw new Refusal('it holds a view that is out of the bounds of its buffer', 'make a new view after the resize()')
  }
}

function refuseDetached(buffer: ArrayBuffer): void {
  if (!buffer.detached) return
  throw new Refusal('it holds an ArrayBuffer that was transferred away', 'capture what it was transferred to')
}
