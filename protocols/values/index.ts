// STUB
import v8 from 'node:v8'
import type { EncodedValue, EncodeHooks, DecodeHooks, Extension } from './value.ts'
export type * from './value.ts'
function plainWalk(v: any, hooks: any, seen: Map<any, any>): any {
  if (v === null || (typeof v !== 'object' && typeof v !== 'function')) return v
  if (seen.has(v)) return seen.get(v)
  if (Array.isArray(v)) { const a: any[] = []; seen.set(v, a); for (const x of v) a.push(plainWalk(x, hooks, seen)); return a }
  const p = Object.getPrototypeOf(v)
  if (p === Object.prototype || p === null) { const o: any = {}; seen.set(v, o); for (const k of Object.keys(v)) o[k] = plainWalk(v[k], hooks, seen); return o }
  if (typeof v !== 'function' && /Error$|Map|Set|Date|RegExp|Array|Buffer|DataView|Number|String|Boolean/.test(p.constructor.name) && !/^class [A-Z]/.test(String(p.constructor))) return v
  const e: Extension | undefined = hooks?.extend?.(v, () => '')
  if (!e) throw new Error('not cloneable ' + p.constructor.name)
  const o: any = { __ext: e.tag }; seen.set(v, o); o.data = plainWalk(e.data, hooks, seen); o.fields = plainWalk(e.fields ?? {}, hooks, seen); return o
}
function back(v: any, hooks: any, seen: Map<any, any>): any {
  if (v === null || typeof v !== 'object') return v
  if (seen.has(v)) return seen.get(v)
  if (Array.isArray(v)) { seen.set(v, v); v.forEach((x, i) => { v[i] = back(x, hooks, seen) }); return v }
  if (v.__ext) { const o = hooks.revive(v.__ext, back(v.data, hooks, seen)); seen.set(v, o); Object.assign(o, back(v.fields, hooks, seen)); return o }
  if (Object.getPrototypeOf(v) === Object.prototype) { seen.set(v, v); for (const k of Object.keys(v)) v[k] = back(v[k], hooks, seen) }
  return v
}
export function encodeValue(v: unknown, hooks?: EncodeHooks): EncodedValue { return { format: 1, head: v8.serialize(plainWalk(v, hooks, new Map())), buffers: [] } }
export function decodeValue(e: EncodedValue, hooks?: DecodeHooks): unknown { return back(v8.deserialize(e.head), hooks, new Map()) }
export function encodedByteLength(e: EncodedValue): number { return e.head.length }
export function flattenValue(e: EncodedValue): Uint8Array[] { return [e.head] }
export function unflattenValue(b: Uint8Array): EncodedValue { return { format: 1, head: b, buffers: [] } }
