import type { AnyClass, AnyFunction } from './any-function.ts'
import { registerClass, registeredClass } from './class-registry.ts'
import type { GraphDecoder } from './graph-decoder.ts'
import type { UnitManifest } from './manifest.ts'

/** The variables of one scope, as the closures of a ship share it. */
export type ScopeVariables = Record<string, unknown>

export interface UnitModule {
  /** Called with the runtime, `import.meta`, and then the libs: imported, dynamic, required. */
  default: (...args: unknown[]) => Promise<void>
}

/** Thrown when a value needs a part of a unit that has not run yet. */
export class NotReadyError extends Error {}

/** What the code of a unit sees of its loader. It sets the first three while it starts. */
export class UnitRuntime {
  /** Factories of the closures: given what a class extends, if it does, and the variables of scopes. */
  sites: ((...args: unknown[]) => unknown)[] = []
  /** Readers of top-level functions and classes. */
  exposed: (() => unknown)[] = []
  /** Setters of the top-level variables whose values travel, by position. */
  setters: ((value: unknown) => void)[] = []

  readonly #unit: UnitManifest
  readonly #decoder: GraphDecoder
  readonly #reused = new Set<unknown>()
  readonly #go = Promise.withResolvers<void>()
  #running: Promise<void> | undefined
  #valuesSet = 0

  constructor(unit: UnitManifest, decoder: GraphDecoder) {
    this.#unit = unit
    this.#decoder = decoder
  }

  /** Runs the unit up to `ready`: after that closures can be made. */
  start(module: UnitModule, args: unknown[]): void {
    this.#running = module.default(this, ...args)
    this.#running.catch(() => undefined)
  }

  /** Called by the unit before it runs the declarations that have effects. */
  ready(): Promise<void> {
    return this.#go.promise
  }

  /** Called by the unit where value number `index` was declared. */
  at(index: number): void {
    for (; this.#valuesSet <= index; this.#valuesSet++) {
      const value = this.#unit.values[this.#valuesSet]
      const set = this.setters[this.#valuesSet]
      if (value !== undefined && set !== undefined) this.#decoder.assignAll(value[1], set)
    }
  }

  /** Runs the rest of the unit. */
  async finish(): Promise<void> {
    this.#go.resolve()
    await this.#running
    this.at(this.#unit.values.length - 1)
    for (const ref of this.#unit.after) this.#decoder.decodeAll(ref)
  }

  /** Declares a class: the one that this process has under that id, or a new one. */
  declareClass(id: string, make: () => AnyClass): AnyClass {
    const have = registeredClass(id)
    if (have !== undefined) {
      this.#reused.add(have)
      return have
    }
    const made = make()
    registerClass(id, made)
    return made
  }

  /** True for a class whose static fields belong to somebody else. */
  isReused(cls: unknown): boolean {
    return this.#reused.has(cls)
  }

  /** A method or accessor, given an object literal that has just it. */
  method(holder: object, part: 'value' | 'get' | 'set'): unknown {
    const key = Reflect.ownKeys(holder)[0]
    return key === undefined ? undefined : Object.getOwnPropertyDescriptor(holder, key)?.[part]
  }

  site(index: number, args: unknown[]): AnyFunction {
    const make = this.sites[index]
    if (make === undefined) throw new Error(`a shipped function refers to part ${index} of ${this.#unit.url}`)
    return make(...args) as AnyFunction
  }

  expose(index: number): AnyFunction {
    try {
      return this.exposed[index]?.() as AnyFunction
    } catch (error) {
      // Its declaration comes later.
      if (error instanceof ReferenceError) throw new NotReadyError()
      throw error
    }
  }
}
