import { types } from 'node:util'
import { limits } from '../../protocols/limits.ts'
import { bundledExport } from '../bundle.ts'
import { isClass, sourceTextOf, type AnyFunction } from './any-function.ts'
import type { CapturedFunction, CapturedLib, CapturedUnit, ImportRequest } from './captured.ts'
import { addWitness, assignClassId } from './class-ids.ts'
import { CodeCapture } from './code-capture.ts'
import { originOf } from './code-files.ts'
import { inspectFunction, type Inspected, type InspectedFunction, type LiveVariables } from './inspect.ts'
import { knownLib } from './known-libs.ts'
import { builtinOf, globalPathOf } from './known-values.ts'
import type { FunctionKind, GraphNode, LibManifest, PropertyNode, ScopeVariable, ValueRef } from './manifest.ts'
import { ObjectEncoder } from './object-encoder.ts'
import { packageReferenceTo } from './package-references.ts'
import { explainRefusal, Refusal, step, type Trail } from './refusal.ts'
import { moduleExportOf } from './importable.ts'
import { liveRoot } from './root-capture.ts'
import { scriptOf, type Script } from './script.ts'
import { sdkPathOf } from './sdk-files.ts'

export interface ShippingHooks {
  /** Is this value something that travels as itself (ObjectRef, RemoteFunction, ...)? */
  isHandle(value: unknown): boolean
}

/** A function that was inspected in this capture. */
export interface LiveFunction {
  fn: AnyFunction
  script: Script
  inspected: InspectedFunction
}

const warnBytes = 10 * 1024 * 1024

interface Pending {
  id: number
  value: object | symbol
  trail: Trail
}

/**
 * One capture: walks from a function over everything that it closes over. Values become nodes of a graph, code becomes
 * units. Nothing here recurses over the user's values, however deep they are.
 */
export class Capture {
  readonly nodes: GraphNode[] = []
  readonly scopes: ScopeVariable[][] = []
  readonly units: CapturedUnit[] = []
  readonly libs: CapturedLib[] = []
  readonly handles: unknown[] = []
  readonly warnings: string[] = []
  readonly code: CodeCapture
  readonly #objects: ObjectEncoder
  readonly #hooks: ShippingHooks
  readonly #ids = new Map<unknown, number>()
  readonly #libIds = new Map<string, number>()
  readonly #inspected = new Map<object, Inspected>()
  readonly #queue: Pending[] = []
  #bytes = 0
  #mainAt: string | undefined

  constructor(hooks: ShippingHooks) {
    this.#hooks = hooks
    this.code = new CodeCapture(this)
    this.#objects = new ObjectEncoder(this)
  }

  run(fn: AnyFunction, name: string): CapturedFunction {
    const trail = step(undefined, `function ${name}`)
    let at = trail
    try {
      // The function itself travels even when it is a handle in the eyes of the SDK.
      const main = this.#reserve(fn, trail)
      // The queue grows while it is worked off.
      for (const next of this.#queue) {
        at = next.trail
        this.nodes[next.id] = this.#encodeNode(next)
      }
      this.#objects.finish()
      this.#warnAboutSize(name)
      const { nodes, scopes, units, libs, handles, warnings } = this
      return { name, kind: this.#kindOf(fn), at: this.#mainAt, main, nodes, scopes, units, libs, handles, warnings }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      throw new CaptureFailure(explainRefusal(name, this.#mainAt, error, at), name, error)
    }
  }

  /** A value as part of the graph. Objects are looked at later. */
  encode(value: unknown, trail: Trail): ValueRef {
    if (typeof value === 'object' ? value === null : typeof value !== 'function' && typeof value !== 'symbol') {
      this.addBytes(typeof value === 'string' ? value.length : 8, trail)
      return [value as string]
    }
    return this.#ids.get(value) ?? this.#reserve(value as object, trail)
  }

  #reserve(value: object | symbol, trail: Trail): number {
    const id = this.nodes.length
    this.nodes.push({ type: 'object', props: [] })
    this.#ids.set(value, id)
    this.#queue.push({ id, value, trail })
    this.addBytes(16, trail)
    return id
  }

  #encodeNode({ id, value, trail }: Pending): GraphNode {
    if (typeof value === 'symbol') return symbolNode(value)
    const origin = originOf(value)
    if (origin?.type === 'meta') return { type: 'meta', url: origin.url }
    if (origin?.type === 'lib') return { type: 'lib', lib: this.addLib(origin.lib), form: origin.form }
    if (id > 0 && this.isHandle(value)) {
      this.handles.push(value)
      return { type: 'handle', value }
    }
    const path = globalPathOf(value)
    if (path !== undefined) return { type: 'global', path }
    const builtin = builtinOf(value)
    if (builtin !== undefined) return { type: 'builtin', ...builtin }
    if (typeof value !== 'function') return this.#objects.encode(value, trail)
    return this.#encodeFunction(value as AnyFunction, trail, id === 0)
  }

  #encodeFunction(fn: AnyFunction, trail: Trail, isMain: boolean): GraphNode {
    const inspected = this.inspect(fn)
    if (inspected.type === 'bound') {
      const target = this.encode(inspected.target, step(trail, 'bound function'))
      const self = this.encode(inspected.self, step(trail, 'bound this'))
      const args = inspected.args.map((arg, i) => this.encode(arg, step(trail, `bound argument ${i}`)))
      return { type: 'bound', target, self, args }
    }
    if (inspected.type === 'native') throw nativeRefusal(fn)
    const script = scriptOf(inspected.scriptId)
    if (script.origin === 'builtin') throw nativeRefusal(fn)
    if (script.origin === 'sdk') return this.#sdkReference(fn, script)
    if (script.origin === 'package') return this.#packageReference(fn, script, inspected)
    return this.#encodeUserFunction({ fn, script, inspected }, trail, isMain)
  }

  #encodeUserFunction(live: LiveFunction, trail: Trail, isMain: boolean): GraphNode {
    const { fn, script, inspected } = live
    const site = script.syntax.findSite(inspected.line, inspected.column, sourceTextOf(fn))
    if (site === undefined) {
      throw new Refusal(`the source of \`${fn.name}\` is not in ${script.url}`, 'define it in a file')
    }
    trail.at ??= script.where(site.start)
    if (isMain) this.#mainAt = trail.at
    addWitness(script, fn)
    const classId = isClass(fn) ? assignClassId(fn, script, site) : undefined
    // Next to closures of the same module, functions are taken apart too: all of them see the same variables then.
    const isApart = classId === undefined && this.units.some((unit) => unit.script === script)
    const exported = isApart ? undefined : moduleExportOf(fn, script, site)
    if (exported !== undefined) {
      const { name, path } = exported
      const form = name === undefined ? 'require' : 'import'
      const lib = this.addImport({ specifier: script.url, directory: script.directory, form, at: trail.at })
      return {
        type: 'export',
        lib,
        form: form === 'require' ? 'required' : 'namespace',
        path,
        ...(classId === undefined ? {} : { classId }),
      }
    }
    const unit = this.unitOf(script, inspected.scopes)
    const rootName = script.syntax.rootNameOf(site.node)
    // Its variable may hold something else by now.
    const isRoot = rootName !== undefined && [undefined, fn].includes(liveRoot(unit, rootName).value as AnyFunction)
    if (isRoot) return this.code.encodeRoot(unit, rootName, live, classId, trail)
    return this.code.encodeClosure(unit, site, live, classId, trail)
  }

  #sdkReference(fn: AnyFunction, script: Script): GraphNode {
    const { file = '', name } = bundledExport(fn) ?? this.#exportOf(fn, script)
    if (name === undefined) throw nativeRefusal(fn)
    const lib = this.addLib({ kind: 'sdk', path: sdkPathOf(file) ?? '' })
    return { type: 'export', lib, form: 'namespace', path: [name] }
  }

  #exportOf(fn: AnyFunction, script: Script): { file: string | undefined; name: string | undefined } {
    const { inspected } = this.#located(fn)
    const site = script.syntax.findSite(inspected.line, inspected.column, sourceTextOf(fn))
    return { file: script.file, name: site && script.syntax.exportNameOf(site.node) }
  }

  #packageReference(fn: AnyFunction, script: Script, inspected: InspectedFunction): GraphNode {
    const found = packageReferenceTo(fn, script, inspected, this.units)
    if (found === undefined) {
      throw new Refusal(
        `it holds the function \`${fn.name || 'anonymous'}\` of package '${script.packageName}', which is not exported`,
        'import it at the top of the file, or create it inside the function',
      )
    }
    const lib = 'lib' in found ? this.addLib(found.lib) : this.addImport(found.request)
    return { type: 'export', lib, form: found.form, path: found.path }
  }

  #located(fn: AnyFunction): { inspected: InspectedFunction } {
    return { inspected: this.inspect(fn) as InspectedFunction }
  }

  /** Inspects a function once in a capture: the values that it sees are those of one moment. */
  inspect(fn: object): Inspected {
    let inspected = this.#inspected.get(fn)
    if (inspected === undefined) this.#inspected.set(fn, (inspected = inspectFunction(fn)))
    return inspected
  }

  isHandle(value: unknown): boolean {
    return this.#hooks.isHandle(value)
  }

  /** True when the value is part of the graph already. */
  has(value: unknown): boolean {
    return this.#ids.has(value)
  }

  unitOf(script: Script, liveScopes: readonly LiveVariables[]): CapturedUnit {
    let unit = this.units.find((candidate) => candidate.script === script)
    if (unit === undefined) {
      unit = {
        index: this.units.length,
        script,
        roots: new Map(),
        parts: new Set(),
        sites: new Map(),
        exposed: new Map(),
        values: new Map(),
        after: [],
        classIds: new Map(),
        liveScopes,
        dynamicLibs: new Map(),
        requiredLibs: new Map(),
      }
      this.units.push(unit)
    }
    return unit
  }

  addLib(lib: LibManifest): number {
    return this.#addLib(JSON.stringify(lib), () => ({ lib }))
  }

  addImport(request: ImportRequest): number {
    const { specifier, directory, form } = request
    const known = knownLib(specifier, directory)
    return known === undefined
      ? this.#addLib(`${form}\0${specifier}\0${directory}`, () => ({ request }))
      : this.addLib(known)
  }

  #addLib(key: string, make: () => CapturedLib): number {
    let id = this.#libIds.get(key)
    if (id === undefined) {
      id = this.libs.length
      this.libs.push(make())
      this.#libIds.set(key, id)
    }
    return id
  }

  addBytes(bytes: number, trail: Trail): void {
    this.#bytes += bytes
    if (this.#bytes <= limits.captureBytesMax) return
    const max = limits.captureBytesMax / 2 ** 20
    throw new Refusal(
      `the values that it captures are over the limit of ${max} MiB`,
      'put() the large value once and pass its ObjectRef as an argument',
    ).along(trail)
  }

  #warnAboutSize(name: string): void {
    if (this.#bytes < warnBytes) return
    const size = (this.#bytes / 2 ** 20).toFixed(0)
    this.warnings.push(
      `\`${name}\` captures ${size} MiB of values, which every worker that runs it is sent: put() the large value once and pass its ObjectRef`,
    )
  }

  #kindOf(fn: AnyFunction): FunctionKind {
    const inspected = this.inspect(fn)
    if (inspected.type === 'bound') return this.#kindOf(inspected.target as AnyFunction)
    if (isClass(fn)) return 'class'
    if (types.isGeneratorFunction(fn)) return types.isAsyncFunction(fn) ? 'asyncGenerator' : 'generator'
    return types.isAsyncFunction(fn) ? 'async' : 'sync'
  }

  /** Own properties of a function that were set by hand. */
  functionProperties(fn: AnyFunction, trail: Trail, isKept: (key: PropertyKey) => boolean): PropertyNode[] {
    return this.#objects.properties(fn, trail, isKept)
  }
}

/** Carries the finished message out of the capture. */
export class CaptureFailure extends Error {
  readonly functionName: string
  readonly refusal: Refusal

  constructor(message: string, functionName: string, refusal: Refusal) {
    super(message)
    this.functionName = functionName
    this.refusal = refusal
  }
}

function symbolNode(value: symbol): GraphNode {
  const wellKnown = Object.getOwnPropertyNames(Symbol).find((name) => Symbol[name as keyof typeof Symbol] === value)
  if (wellKnown !== undefined) return { type: 'symbol', key: wellKnown, isWellKnown: true }
  const key = Symbol.keyFor(value)
  if (key !== undefined) return { type: 'symbol', key, isWellKnown: false }
  throw new Refusal(
    `it holds the unique symbol ${String(value)}`,
    'use Symbol.for(name), which is the same symbol in every process',
  )
}

function nativeRefusal(fn: AnyFunction): Refusal {
  const name = fn.name || 'anonymous'
  return new Refusal(
    `it holds the native function \`${name}\``,
    `wrap it, as in (...args) => ${name}(...args), so that the name is looked up on the worker`,
  )
}
