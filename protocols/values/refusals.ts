import { types } from 'node:util'
import { clip, clipList } from '../clip.ts'

const keyBytesMax = 64

/** The way from the root of a value to a part of it, such as `.pool[0]`. Of a long one the two ends. */
export function formatPath(keys: readonly (string | number)[]): string {
  return clipList(keys.map((key) => clip(formatKey(key), keyBytesMax))).join('')
}

function formatKey(key: string | number): string {
  if (typeof key === 'number') return `[${key}]`
  // Not a property: a place in a Map or a Set.
  if (key.startsWith('\0')) return key.slice(1)
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`
}

/** What it is that cannot be copied, and what to do instead. */
export function describeUncloneable(value: object): string {
  if (typeof value === 'function') {
    return `the function ${value.name === '' ? '(anonymous)' : value.name}; call a method of what you send instead, or make it remote`
  }
  if (types.isPromise(value)) return 'a Promise; await it first, or pass the ObjectRef of a remote task'
  if (types.isGeneratorObject(value)) return 'a running generator; send the list of what it yields'
  if (types.isWeakMap(value) || types.isWeakSet(value) || value instanceof WeakRef) {
    return `a ${className(value)}, which means nothing in another process; send plain data`
  }
  if (types.isSharedArrayBuffer(value)) {
    return 'a SharedArrayBuffer, whose memory belongs to this process; send a copy: new Uint8Array(shared).slice()'
  }
  if (types.isProxy(value)) return 'a Proxy; send the object behind it, or a plain copy: { ...value }'
  return `an instance of ${className(value)}; send plain data, or an instance of a class of your own without #private fields`
}

function className(value: object): string {
  const { constructor } = value
  return typeof constructor === 'function' && constructor.name !== '' ? constructor.name : 'an unknown class'
}
