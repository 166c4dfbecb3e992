import { registerClass, registeredClass } from './class-registry.ts'
import type { AnyClass, AnyFunction } from './any-function.ts'
import { makeMeta, type LoadedLibs } from './loaded-libs.ts'
import type { FunctionManifest, GraphNode, ObjectParts, PropertyNode, Seal, ValueRef } from './manifest.ts'
import { NotReadyError, type ScopeVariables, type UnitRuntime } from './unit-runtime.ts'

type NodeOf<T extends GraphNode['type']> = Extract<GraphNode, { type: T }>

/** Rebuilds the values that a function closes over. Shared values and cycles stay what they were. */
export class GraphDecoder {
  readonly units: UnitRuntime[] = []
  readonly #manifest: FunctionManifest
  readonly #libs: LoadedLibs
  readonly #made = new Map<number, unknown>()
  readonly #scopes = new Map<number, ScopeVariables>()
  readonly #assigned = new Map<ScopeVariables, Set<string>>()
  /** Classes that are being defined. */
  readonly #defining = new Set<number>()
  /** True when nothing else helps: what is not ready stays undefined where a class is defined. */
  #isForced = false
  /** Contents of objects that exist already; kept in a list so that deep values need no deep stack. */
  readonly #toFill: (() => void)[] = []
  #waiting: (() => void)[] = []
  readonly #toSeal: [object, Seal][] = []

  constructor(manifest: FunctionManifest, libs: LoadedLibs) {
    this.#manifest = manifest
    this.#libs = libs
  }

  /** The value with everything that is in it. */
  decodeAll(ref: ValueRef): unknown {
    const value = this.decode(ref)
    this.#fillAll()
    return value
  }

  /** The value; what is in it may come later. */
  decode(ref: ValueRef): unknown {
    if (typeof ref !== 'number') return ref[0]
    if (this.#made.has(ref)) return this.#made.get(ref)
    const node = this.#manifest.nodes[ref]
    if (node === undefined) throw new Error(`a shipped function has no value ${ref}`)
    return this.#build(ref, node)
  }

  #fillAll(): void {
    for (let fill = this.#toFill.pop(); fill !== undefined; fill = this.#toFill.pop()) fill()
  }

  /** Sets a variable of a unit, now or, when that needs code that has not run yet, later. */
  assignAll(ref: ValueRef, set: (value: unknown) => void): void {
    this.assign(ref, set)
    this.#fillAll()
  }

  assign(ref: ValueRef, set: (value: unknown) => void): void {
    this.#attempt(() => set(this.decode(ref)))
  }

  #attempt(attempt: () => void): void {
    try {
      attempt()
    } catch (error) {
      if (!(error instanceof NotReadyError)) throw error
      this.#waiting.push(attempt)
    }
  }

  /** Sets what had to wait, and freezes what was frozen. */
  finish(): void {
    while (this.#waiting.length > 0) {
      const waiting = this.#waiting
      this.#waiting = []
      for (const attempt of waiting) {
        this.#attempt(attempt)
        this.#fillAll()
      }
      if (this.#waiting.length >= waiting.length) {
        if (this.#isForced) throw new Error('parts of a shipped function need each other before they exist')
        this.#isForced = true
      }
    }
    for (const [value, seal] of this.#toSeal) {
      if (seal === 'frozen') Object.freeze(value)
      else if (seal === 'sealed') Object.seal(value)
      else Object.preventExtensions(value)
    }
  }

  #keep<T>(index: number, value: T): T {
    this.#made.set(index, value)
    return value
  }

  #build(index: number, node: GraphNode): unknown {
    switch (node.type) {
      case 'global':
        return this.#keep(index, readPath(globalThis, node.path))
      case 'symbol':
        return this.#keep(index, node.isWellKnown ? readPath(Symbol, [node.key]) : Symbol.for(node.key))
      case 'builtin': {
        const module = process.getBuiltinModule(node.module)
        return this.#keep(index, node.name === '' ? module : readPath(module, [node.name]))
      }
      case 'handle':
        return this.#keep(index, node.value)
      case 'lib':
        return this.#keep(index, this.#lib(node))
      case 'export': {
        const { lib, form, path, classId } = node
        const root = form === 'required' ? this.#libs.required(lib) : this.#libs.namespace(lib)
        const value = readPath(root, path)
        if (classId !== undefined) registerClass(classId, value as AnyClass)
        return this.#keep(index, value)
      }
      case 'meta':
        return this.#keep(index, makeMeta(node.url))
      case 'date':
        return this.#keep(index, new Date(node.timeMs))
      case 'regexp': {
        const expression = new RegExp(node.source, node.flags)
        expression.lastIndex = node.lastIndex
        return this.#keep(index, expression)
      }
      case 'url':
        return this.#keep(index, new URL(node.href))
      case 'urlSearch':
        return this.#keep(index, new URLSearchParams(node.text))
      case 'arrayBuffer':
        return this.#keep(index, copyBuffer(node))
      case 'view':
        return this.#keep(index, this.#view(node))
      case 'list':
        return this.#keep(index, [...node.items])
      case 'array':
        return this.#array(index, node)
      case 'map':
        return this.#map(index, node)
      case 'set':
        return this.#set(index, node)
      case 'object':
        return this.#object(index, node)
      case 'error':
        return this.#error(index, node)
      case 'bound': {
        const target = this.decode(node.target) as AnyFunction
        const args = node.args.map((arg) => this.decode(arg))
        return this.#keep(index, Function.prototype.bind.call(target, this.decode(node.self), ...args))
      }
      case 'closure':
        return this.#closure(index, node)
      case 'exposed': {
        const unit = this.#unit(node.unit)
        const fn = this.#keep(index, unit.expose(node.index))
        if (node.classId !== undefined) registerClass(node.classId, fn as unknown as AnyClass)
        if (!unit.isReused(fn)) this.#properties(fn, node.props)
        return fn
      }
    }
  }

  #unit(index: number): UnitRuntime {
    const unit = this.units[index]
    if (unit === undefined) throw new NotReadyError()
    return unit
  }

  #lib(node: NodeOf<'lib'>): unknown {
    if (node.form === 'dynamic') return this.#libs.dynamic(node.lib)
    return node.form === 'required' ? this.#libs.required(node.lib) : this.#libs.namespace(node.lib)
  }

  #view(node: NodeOf<'view'>): ArrayBufferView {
    const buffer = this.decode(node.buffer) as ArrayBuffer
    if (node.view === 'Buffer') return Buffer.from(buffer, node.byteOffset, node.length)
    const View = readPath(globalThis, [node.view]) as new (b: ArrayBuffer, o: number, n?: number) => ArrayBufferView
    return new View(buffer, node.byteOffset, node.length)
  }

  #array(index: number, node: NodeOf<'array'>): unknown[] {
    const array: unknown[] = this.#keep(index, this.#instance(node, []))
    array.length = node.length
    this.#toFill.push(() => {
      for (const [i, ref] of node.items) this.assign(ref, (value) => (array[i] = value))
    })
    return this.#finishObject(array, node)
  }

  #map(index: number, node: NodeOf<'map'>): Map<unknown, unknown> {
    const map = this.#keep(index, this.#instance(node, new Map<unknown, unknown>()))
    const add = (key: unknown, ref: ValueRef): void => {
      // Keeps its place when the value has to wait.
      Map.prototype.set.call(map, key, undefined)
      this.assign(ref, (value) => Map.prototype.set.call(map, key, value))
    }
    this.#toFill.push(() => {
      for (const [key, ref] of node.entries) this.assign(key, (k) => add(k, ref))
    })
    return this.#finishObject(map, node)
  }

  #set(index: number, node: NodeOf<'set'>): Set<unknown> {
    const set = this.#keep(index, this.#instance(node, new Set<unknown>()))
    this.#toFill.push(() => {
      for (const ref of node.entries) this.assign(ref, (value) => Set.prototype.add.call(set, value))
    })
    return this.#finishObject(set, node)
  }

  #object(index: number, node: NodeOf<'object'>): object {
    const prototype = node.prototype === undefined ? Object.prototype : this.decode(node.prototype)
    const object = this.#instance(node, Object.create(prototype as object | null) as object)
    return this.#finishObject(this.#keep(index, object), node)
  }

  #error(index: number, node: NodeOf<'error'>): Error {
    const Base = (readPath(globalThis, [node.name]) ?? Error) as ErrorConstructor
    const error = Object.setPrototypeOf(new Error(), Base.prototype) as Error
    return this.#finishObject(this.#keep(index, this.#instance(node, error)), node)
  }

  /** Makes an object an instance of the user's class, if it was one. */
  #instance<T extends object>(node: ObjectParts, object: T): T {
    if (node.class === undefined) return object
    const cls = this.decode(node.class) as AnyClass
    return Object.setPrototypeOf(object, cls.prototype as object) as T
  }

  #finishObject<T extends object>(object: T, node: ObjectParts): T {
    if (node.props.length > 0) this.#toFill.push(() => this.#properties(object, node.props))
    if (node.seal !== undefined) this.#toSeal.push([object, node.seal])
    return object
  }

  #closure(index: number, node: NodeOf<'closure'>): AnyFunction {
    if (node.classId !== undefined) return this.#class(index, node, node.classId)
    const fn = this.#keep(index, this.#unit(node.unit).site(node.site, this.#scopesOf(node)))
    if (fn.name !== node.name) setName(fn, node.name)
    this.#toFill.push(() => {
      for (const scope of node.scopes) this.#fill(scope, Infinity)
      this.#properties(fn, node.props)
      if (node.prototypeProps.length > 0) this.#properties(fn.prototype as object, node.prototypeProps)
    })
    return fn
  }

  /** To define a class, its static fields are evaluated: what was declared before it has to be there. */
  #class(index: number, node: NodeOf<'closure'>, id: string): AnyFunction {
    const have = registeredClass(id)
    if (have !== undefined) return this.#keep(index, have as unknown as AnyFunction)
    if (this.#defining.has(index)) throw new NotReadyError()
    this.#defining.add(index)
    try {
      for (const scope of node.scopes) this.#fill(scope, node.position ?? 0)
      const superclass = node.superclass === undefined ? [] : [this.decode(node.superclass)]
      this.#fillAll()
      const cls = this.#keep(index, this.#unit(node.unit).site(node.site, [...superclass, ...this.#scopesOf(node)]))
      registerClass(id, cls as unknown as AnyClass)
      const name: unknown = Object.getOwnPropertyDescriptor(cls, 'name')?.value ?? ''
      if (typeof name === 'string' && name !== node.name) setName(cls, node.name)
      this.#toFill.push(() => {
        for (const scope of node.scopes) this.#fill(scope, Infinity)
        this.#properties(cls, node.props)
      })
      return cls
    } finally {
      this.#defining.delete(index)
    }
  }

  #scopesOf(node: NodeOf<'closure'>): ScopeVariables[] {
    return node.scopes.map((scope) => this.#scope(scope))
  }

  /** An ordinary object that has all its properties from the start: others are slow to use. */
  #scope(index: number): ScopeVariables {
    let scope = this.#scopes.get(index)
    if (scope === undefined) {
      scope = {}
      for (const [name] of this.#manifest.scopes[index] ?? []) scope[name] = undefined
      this.#scopes.set(index, scope)
      this.#assigned.set(scope, new Set())
    }
    return scope
  }

  /** Sets the variables that are declared before a position. Throws when one is not ready and a class needs it. */
  #fill(index: number, position: number): void {
    const scope = this.#scope(index)
    const isSet = this.#assigned.get(scope) as Set<string>
    for (const [name, ref, declaredAt] of this.#manifest.scopes[index] ?? []) {
      if (isSet.has(name) || declaredAt >= position) continue
      const set = (value: unknown): void => {
        isSet.add(name)
        scope[name] = value
      }
      if (position === Infinity || this.#isForced) this.assign(ref, set)
      else set(this.decode(ref))
    }
  }

  #properties(target: object, props: readonly PropertyNode[]): void {
    for (const { key, isSymbol, value, get, set, attributes = '' } of props) {
      const name = (isSymbol === true ? this.decode(key as number) : key) as PropertyKey
      const common = { enumerable: !attributes.includes('h'), configurable: !attributes.includes('f') }
      if (value !== undefined) {
        const writable = !attributes.includes('r')
        this.assign(value, (v) => Object.defineProperty(target, name, { value: v, writable, ...common }))
      } else {
        const accessor: PropertyDescriptor = { ...common }
        if (get !== undefined) accessor.get = this.decode(get) as () => unknown
        if (set !== undefined) accessor.set = this.decode(set) as (v: unknown) => void
        Object.defineProperty(target, name, accessor)
      }
    }
  }
}

function readPath(root: unknown, path: readonly string[]): unknown {
  let value = root
  for (const key of path) value = (value as Record<string, unknown>)[key]
  return value
}

/** Its own memory: what the values came in may be shared by all of them. */
function copyBuffer({ bytes, maxByteLength }: NodeOf<'arrayBuffer'>): ArrayBuffer {
  const buffer = new ArrayBuffer(bytes.length, maxByteLength === undefined ? {} : { maxByteLength })
  new Uint8Array(buffer).set(bytes)
  return buffer
}

function setName(fn: AnyFunction, name: string): void {
  Object.defineProperty(fn, 'name', { value: name, configurable: true })
}
