import { builtinModules } from 'node:module'
import { runInNewContext } from 'node:vm'

/** Values that every Node process has: they travel by name. */

/** The globals that Node adds to those of JavaScript itself. */
const namesOfNode = `
  process global Buffer clearImmediate setImmediate clearInterval clearTimeout setInterval setTimeout
  queueMicrotask structuredClone atob btoa URL URLSearchParams URLPattern DOMException AbortController
  AbortSignal Event EventTarget CustomEvent TextEncoder TextDecoder TransformStream
  TransformStreamDefaultController WritableStream WritableStreamDefaultController WritableStreamDefaultWriter
  ReadableStream ReadableStreamDefaultReader ReadableStreamBYOBReader ReadableStreamBYOBRequest
  ReadableByteStreamController ReadableStreamDefaultController ByteLengthQueuingStrategy CountQueuingStrategy
  TextEncoderStream TextDecoderStream CompressionStream DecompressionStream BroadcastChannel MessageChannel
  MessagePort Blob File Performance PerformanceEntry PerformanceMark PerformanceMeasure PerformanceObserver
  PerformanceObserverEntryList PerformanceResourceTiming performance fetch FormData Headers Request Response
  MessageEvent CloseEvent WebSocket crypto Crypto CryptoKey SubtleCrypto Navigator navigator
`

let nodeGlobals: ReadonlySet<string> | undefined

/** Not what is there when this is loaded: a program may have added globals of its own before. */
function listNodeGlobals(): ReadonlySet<string> {
  const ofLanguage = runInNewContext('Object.getOwnPropertyNames(globalThis)') as string[]
  return (nodeGlobals ??= new Set([...ofLanguage, ...namesOfNode.trim().split(/\s+/)]))
}

export function isNodeGlobal(name: string): boolean {
  return (nodeGlobals ?? listNodeGlobals()).has(name)
}

/** To look at these loads Node's fetch, which takes longer than everything else together. */
const slowGlobals = new Set([
  'FormData',
  'Headers',
  'Request',
  'Response',
  'WebSocket',
  'MessageEvent',
  'CloseEvent',
  'EventSource',
])

/**
 * What says how this process was started travels as data, like the numbers and strings of `process`. Its environment
 * does not: tasks have one of their own, with what their runtime environment sets.
 */
const dataOfProcess = ['argv', 'execArgv', 'versions', 'release'] as const

function isProcessData(value: unknown): boolean {
  return dataOfProcess.some((name) => process[name] === value)
}

let globals: Map<unknown, string[]> | undefined

/** The path from globalThis to a value, such as `['Math', 'max']`. */
export function globalPathOf(value: unknown): string[] | undefined {
  if (value === globalThis) return []
  globals ??= listGlobals()
  return globals.get(value) ?? lazyGlobal(value)
}

function listGlobals(): Map<unknown, string[]> {
  const found = new Map<unknown, string[]>()
  for (const name of listNodeGlobals()) {
    if (name === 'global' || name === 'globalThis' || slowGlobals.has(name)) continue
    const isNeeded = name === 'process' || name === 'Buffer'
    const descriptor = Object.getOwnPropertyDescriptor(globalThis, name)
    // Some getters load whole subsystems or warn.
    if (descriptor === undefined || (!('value' in descriptor) && !isNeeded)) continue
    const value: unknown = 'value' in descriptor ? descriptor.value : descriptor.get?.call(globalThis)
    addPaths(found, value, [name], name === 'process' ? 1 : 2)
  }
  return found
}

function addPaths(found: Map<unknown, string[]>, value: unknown, path: string[], depth: number): void {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null || found.has(value)) return
  if (isProcessData(value)) return
  found.set(value, path)
  if (depth === 0) return
  for (const key of Object.getOwnPropertyNames(value)) {
    const descriptor = Object.getOwnPropertyDescriptor(value, key)
    if (descriptor !== undefined && 'value' in descriptor) addPaths(found, descriptor.value, [...path, key], depth - 1)
  }
}

/** A global behind a getter, found by its name: reading them all would be slow. */
function lazyGlobal(value: unknown): string[] | undefined {
  const name = typeof value === 'function' ? value.name : lowerFirst((value as object | null)?.constructor?.name ?? '')
  if (typeof value !== 'function' && name !== 'crypto' && name !== 'performance') return undefined
  return isNodeGlobal(name) && (globalThis as Record<string, unknown>)[name] === value ? [name] : undefined
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}

let builtins: Map<unknown, { module: string; name: string }> | undefined
let loadedCount = 0

/** The built-in module and export that a value is; the empty name is the module itself. */
export function builtinOf(value: unknown): { module: string; name: string } | undefined {
  const { moduleLoadList = [] } = process as { moduleLoadList?: string[] }
  // What was captured is loaded.
  if (builtins === undefined || loadedCount !== moduleLoadList.length) {
    builtins = listBuiltins(new Set(moduleLoadList.map((entry) => entry.replace(/^\w+ /, ''))))
    loadedCount = moduleLoadList.length
  }
  return builtins.get(value)
}

/** Loading these warns. */
const deprecatedModules = new Set(['sys', 'punycode', 'domain', 'trace_events', 'wasi'])

function listBuiltins(loaded: ReadonlySet<string>): Map<unknown, { module: string; name: string }> {
  const found = new Map<unknown, { module: string; name: string }>()
  for (const id of builtinModules) {
    const module = id.replace(/^node:/, '')
    if (module.startsWith('_') || deprecatedModules.has(module) || !loaded.has(module)) continue
    const exports: unknown = process.getBuiltinModule(`node:${module}`)
    if (!found.has(exports)) found.set(exports, { module: `node:${module}`, name: '' })
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(exports))) {
      const isObject = typeof value === 'function' || (typeof value === 'object' && value !== null)
      if (isObject && !found.has(value) && !isProcessData(value)) found.set(value, { module: `node:${module}`, name })
    }
  }
  return found
}
