import { isClass, sourceTextOf, type AnyFunction } from './any-function.ts'
import type { Capture, LiveFunction } from './capture.ts'
import type { CapturedUnit } from './captured.ts'
import { findRefusal } from './find-refusal.ts'
import { GlobalCapture } from './global-capture.ts'
import { checkLexical } from './lexical-check.ts'
import type { GraphNode, PropertyNode, ValueRef } from './manifest.ts'
import { Refusal, step, type Trail } from './refusal.ts'
import { importInto, RootCapture } from './root-capture.ts'
import { ScopeCapture } from './scope-capture.ts'
import { scriptOf } from './script.ts'
import type { Scope, Site } from './script-syntax.ts'
import { isClassNode, type Node } from './syntax.ts'

/** Takes over functions and classes as code, with all that their text refers to. */
export class CodeCapture {
  readonly #capture: Capture
  readonly #scopes: ScopeCapture
  readonly #roots: RootCapture
  readonly #globals: GlobalCapture

  constructor(capture: Capture) {
    this.#capture = capture
    this.#scopes = new ScopeCapture(capture)
    // Top-level code has no variables of functions around it.
    this.#roots = new RootCapture(capture, (unit, part, trail) => void this.#reach(unit, part.start, part.end, trail))
    this.#globals = new GlobalCapture(this.#roots)
  }

  /** A top-level function or class: its declaration becomes part of the unit. */
  encodeRoot(
    unit: CapturedUnit,
    name: string,
    live: LiveFunction,
    classId: string | undefined,
    trail: Trail,
  ): GraphNode {
    if (classId !== undefined) unit.classIds.set(name, classId)
    this.#roots.takeDeclaration(unit, name, trail)
    const props = this.#ownProperties(live, trail)
    return { type: 'exposed', unit: unit.index, index: exposedIndex(unit, name), ...withClass(classId), props }
  }

  /** A function or class from inside of others: a factory that is called with the variables it sees. */
  encodeClosure(
    unit: CapturedUnit,
    site: Site,
    live: LiveFunction,
    classId: string | undefined,
    trail: Trail,
  ): GraphNode {
    const { script } = unit
    checkLexical(script, site)
    const heritage = heritageOf(site.node)
    const locals = this.#reach(unit, site.start, heritage?.start ?? site.end, trail)
    if (heritage !== undefined) this.#reach(unit, heritage.end, site.end, trail, locals)
    const scopes = [...locals.keys()].sort((a, b) => a.block.start - b.block.start || b.block.end - a.block.end)
    let captured = unit.sites.get(site.node)
    if (captured === undefined) {
      captured = { index: unit.sites.size, site, heritage, scopes }
      unit.sites.set(site.node, captured)
    }
    const ids = scopes.map((scope) =>
      this.#scopes.idOf(unit, scope, locals.get(scope) ?? new Set(), live.inspected.scopes, site, trail),
    )
    return {
      type: 'closure',
      unit: unit.index,
      site: captured.index,
      scopes: ids,
      name: nameOf(live.fn),
      ...withClass(classId),
      ...(classId === undefined ? {} : { position: site.start }),
      ...(heritage === undefined ? {} : { superclass: this.#superclassOf(live.fn, trail) }),
      props: this.#ownProperties(live, trail),
      prototypeProps: this.#prototypeProperties(live.fn, classId, trail),
    }
  }

  #superclassOf(cls: AnyFunction, trail: Trail): ValueRef {
    const superclass = Object.getPrototypeOf(cls) as AnyFunction
    return this.#capture.encode(superclass, step(trail, `class ${superclass.name}`))
  }

  /** What was set on a function or class by hand, and is not part of its text. */
  #ownProperties({ fn, script, inspected }: LiveFunction, trail: Trail): PropertyNode[] {
    const text = sourceTextOf(fn)
    const site = script.syntax.findSite(inspected.line, inspected.column, text)
    const isOfText = (value: unknown): boolean => {
      if (typeof value !== 'function' || site === undefined) return false
      const inner = this.#capture.inspect(value)
      if (inner.type !== 'script' || scriptOf(inner.scriptId) !== script) return false
      const at = script.syntax.findSite(inner.line, inner.column, sourceTextOf(value))
      return at !== undefined && at.start > site.start && at.end <= site.end
    }
    return this.#capture.functionProperties(fn, trail, (key) => {
      if (['length', 'name', 'prototype', 'arguments', 'caller'].includes(key as string)) return false
      const descriptor = Object.getOwnPropertyDescriptor(fn, key)
      if (descriptor === undefined || !('value' in descriptor)) return !isClass(fn)
      // A static field that cannot be copied is made again with the class.
      if (isClass(fn) && findRefusal(this.#capture, descriptor.value) !== undefined) return false
      return !isClass(fn) || (!isOfText(descriptor.value) && descriptor.writable === true)
    })
  }

  /** `function Old() {}` with methods on its prototype. */
  #prototypeProperties(fn: AnyFunction, classId: string | undefined, trail: Trail): PropertyNode[] {
    const { prototype } = fn as { prototype?: unknown }
    if (classId !== undefined || typeof prototype !== 'object' || prototype === null) return []
    return this.#capture.functionProperties(
      prototype as AnyFunction,
      step(trail, '.prototype'),
      (key) => key !== 'constructor',
    )
  }

  /** Goes over everything that a piece of text refers to. Gives the variables of functions around it, by scope. */
  #reach(
    unit: CapturedUnit,
    start: number,
    end: number,
    trail: Trail,
    locals = new Map<Scope, Set<string>>(),
  ): Map<Scope, Set<string>> {
    const { script } = unit
    for (const special of script.syntax.specialsIn(start, end)) {
      if (special.type === 'dynamic') this.#dynamicLib(unit, special.specifier, special.node)
      if (special.type === 'require') this.#requiredLib(unit, special.specifier, special.node)
    }
    for (const free of script.syntax.freeReferences(start, end)) {
      const { reference, name, kind } = free
      if (kind === 'arguments') {
        throw new Refusal(
          'it uses `arguments` of the function around it',
          'copy it to a const first, as in const args = [...arguments]',
          script.where(reference.identifier.start),
        ).along(trail)
      }
      if (kind === 'root') this.#roots.need(unit, name, step(trail, name))
      else if (kind === 'global') this.#globals.need(unit, free, step(trail, name))
      else if (reference.resolved !== null) {
        const { scope } = reference.resolved
        const names = locals.get(scope)
        if (names === undefined) locals.set(scope, new Set([name]))
        else names.add(name)
      }
    }
    return locals
  }

  #dynamicLib(unit: CapturedUnit, specifier: string, node: Node): number {
    const id = importInto(this.#capture, unit, specifier, 'import', node)
    unit.dynamicLibs.set(specifier, id)
    return id
  }

  #requiredLib(unit: CapturedUnit, specifier: string, node: Node): number {
    const id = importInto(this.#capture, unit, specifier, 'require', node)
    unit.requiredLibs.set(specifier, id)
    return id
  }
}

function exposedIndex(unit: CapturedUnit, name: string): number {
  const known = unit.exposed.get(name)
  if (known !== undefined) return known
  unit.exposed.set(name, unit.exposed.size)
  return unit.exposed.size - 1
}

function heritageOf(node: Node): Node | undefined {
  const superclass = isClassNode(node) ? node.superClass : undefined
  // `extends null` extends nothing that could be sent.
  return superclass && superclass.type !== 'Literal' ? superclass : undefined
}

function withClass(classId: string | undefined): { classId?: string } {
  return classId === undefined ? {} : { classId }
}

function nameOf(fn: AnyFunction): string {
  const name: unknown = Object.getOwnPropertyDescriptor(fn, 'name')?.value
  return typeof name === 'string' ? name : ''
}
