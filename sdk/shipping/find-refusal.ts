import { types } from 'node:util'
import type { Capture } from './capture.ts'
import { originOf } from './code-files.ts'
import { refusalOf } from './copyability.ts'
import { builtinOf, globalPathOf } from './known-values.ts'
import { Refusal } from './refusal.ts'
import { scriptOf } from './script.ts'

/**
 * Looks through a value for something that cannot be copied, without capturing it. Functions of the user's files count
 * as fine: what is wrong with them is told when they are captured.
 */
export function findRefusal(capture: Capture, root: unknown): Refusal | undefined {
  const seen = new Set<unknown>()
  const todo: unknown[] = [root]
  while (todo.length > 0) {
    const value = todo.pop()
    if (typeof value === 'symbol') {
      if (Symbol.keyFor(value) === undefined && !isWellKnown(value)) return new Refusal(`it holds ${String(value)}`, '')
      continue
    }
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value)) continue
    seen.add(value)
    if (capture.has(value) || isKnown(capture, value)) continue
    const refusal = typeof value === 'function' ? refusalOfFunction(capture, value, todo) : refusalOf(value)
    if (refusal !== undefined) return refusal
    if (typeof value === 'object') addParts(value, todo)
  }
  return undefined
}

function isWellKnown(value: symbol): boolean {
  return Object.getOwnPropertyNames(Symbol).some((name) => Symbol[name as keyof typeof Symbol] === value)
}

function isKnown(capture: Capture, value: object): boolean {
  return (
    capture.isHandle(value) ||
    originOf(value) !== undefined ||
    globalPathOf(value) !== undefined ||
    builtinOf(value) !== undefined
  )
}

function refusalOfFunction(capture: Capture, fn: object, todo: unknown[]): Refusal | undefined {
  const inspected = capture.inspect(fn)
  if (inspected.type === 'bound') {
    todo.push(inspected.target, inspected.self, ...inspected.args)
    return undefined
  }
  if (inspected.type === 'script') {
    const { origin } = scriptOf(inspected.scriptId)
    if (origin === 'user' || origin === 'sdk') return undefined
  }
  // At the top level, declaring it again is better than searching for its name.
  return new Refusal("it holds a function that is not the user's", 'import it at the top of the file')
}

function addParts(value: object, todo: unknown[]): void {
  if (types.isArrayBufferView(value) || types.isAnyArrayBuffer(value)) return
  if (types.isMap(value)) todo.push(...Map.prototype.keys.call(value), ...Map.prototype.values.call(value))
  else if (types.isSet(value)) todo.push(...Set.prototype.values.call(value))
  if (Array.isArray(value)) {
    // A subclass may have an iterator of its own.
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i]
      if (typeof item === 'object' || typeof item === 'function') todo.push(item)
    }
    return
  }
  for (const key of Reflect.ownKeys(value)) {
    if (key === 'stack' && types.isNativeError(value)) continue
    const descriptor = Object.getOwnPropertyDescriptor(value, key)
    todo.push(key, descriptor?.value, descriptor?.get, descriptor?.set)
  }
}
