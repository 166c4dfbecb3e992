import { isBuiltin } from 'node:module'
import path from 'node:path'
import { isClass, sourceTextOf, type AnyFunction } from './any-function.ts'
import type { Capture, LiveFunction } from './capture.ts'
import type { CapturedUnit } from './captured.ts'
import { addWitness, assignClassId, rootClassId } from './class-ids.ts'
import { loadedFile, loadedFileByUrl } from './code-files.ts'
import { findRefusal } from './find-refusal.ts'
import { canBeImported } from './importable.ts'
import { isNodeGlobal } from './known-values.ts'
import { checkLexical } from './lexical-check.ts'
import type { GraphNode, LibManifest, PropertyNode, ValueRef } from './manifest.ts'
import { externalOfUrl } from './external-packages.ts'
import { Refusal, step, type Trail } from './refusal.ts'
import { importsAlongside, type RootBinding } from './root-bindings.ts'
import { ScopeCapture } from './scope-capture.ts'
import { scriptOf, type Script } from './script.ts'
import type { FreeReference, Scope, Site } from './script-syntax.ts'
import { sdkPathOfImport } from './sdk-files.ts'
import { functionOrClassIn, isClassNode, namesIn, requiredIn, type Node } from './syntax.ts'

type Live = { has: boolean; value: unknown }

/** Decides for each name that shipped code uses how the worker gets it. */
export class CodeCapture {
  readonly #capture: Capture
  readonly #scopes: ScopeCapture

  constructor(capture: Capture) {
    this.#capture = capture
    this.#scopes = new ScopeCapture(capture)
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
    this.#takeDeclaration(unit, name, trail)
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
      if (kind === 'root') this.#needRoot(unit, name, step(trail, name))
      else if (kind === 'global') this.#needGlobal(unit, free, step(trail, name))
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
    const id = this.#import(unit, specifier, 'import', node)
    unit.dynamicLibs.set(specifier, id)
    return id
  }

  #requiredLib(unit: CapturedUnit, specifier: string, node: Node): number {
    const id = this.#import(unit, specifier, 'require', node)
    unit.requiredLibs.set(specifier, id)
    return id
  }

  #import({ script }: CapturedUnit, specifier: string, form: 'import' | 'require', node: Node): number {
    const alongside = importsAlongside(script.syntax.roots, specifier)
    const at = script.where(node.start)
    return this.#capture.addImport({ specifier, directory: script.directory, form, at, alongside })
  }

  /** What an import means when that is clear without looking at files. */
  knownLib(specifier: string, directory: string): LibManifest | undefined {
    if (isBuiltin(specifier)) return { kind: 'builtin', name: specifier.replace(/^node:/, '') }
    const sdkPath = sdkPathOfImport(specifier, directory)
    if (sdkPath !== undefined) return { kind: 'sdk', path: sdkPath }
    // Code that was shipped to this process names its imports by what has been shipped with it.
    const file = loadedFile(specifier) ?? loadedFileByUrl(specifier)
    if (file !== undefined) return { kind: 'code', key: file.key }
    return externalOfUrl(specifier)
  }

  #needGlobal(unit: CapturedUnit, { reference, name }: FreeReference, trail: Trail): void {
    const { script } = unit
    const { identifier } = reference
    const parent = script.syntax.parentOf(identifier)
    if (name === 'eval' && parent?.type === 'CallExpression' && parent.callee === identifier) {
      throw new Refusal(
        'it calls eval() directly, so that what it captures cannot be known',
        'use (0, eval)(text), which sees only globals, or new Function',
        script.where(parent.start),
      ).along(trail)
    }
    if (script.syntax.kind === 'commonjs' && this.#needCommonJs(unit, name, identifier, trail)) return
    if (unit.roots.has(name) || isNodeGlobal(name) || !(name in globalThis)) return
    // One that the user's program has added.
    this.#takeValue(unit, name, (globalThis as Record<string, unknown>)[name], 0, trail)
  }

  /** The names that CommonJS modules are given by Node. */
  #needCommonJs(unit: CapturedUnit, name: string, identifier: Node, trail: Trail): boolean {
    const { script } = unit
    if (name === '__filename') this.#takeValue(unit, name, script.file, 0, trail)
    else if (name === '__dirname') this.#takeValue(unit, name, path.dirname(script.file ?? ''), 0, trail)
    else if (name === 'require') {
      if (script.syntax.specialsIn(0, Infinity).some((s) => s.type === 'require' && s.callee === identifier))
        return true
      throw new Refusal(
        'it calls require() with a computed name',
        'use a literal name, as in require("x"), or an import at the top of the file',
        script.where(identifier.start),
      ).along(trail)
    } else if (name === 'exports') {
      const member = script.syntax.parentOf(identifier)
      const isPlain = member?.type === 'MemberExpression' && !member.computed && member.property.type === 'Identifier'
      if (!isPlain) return this.#refuseModule(script, identifier, trail)
      const exported = (member.property as { name: string }).name
      const exports = liveRoot(unit, 'exports').value as Record<string, unknown> | undefined
      this.#takeValue(unit, exportVariable(exported), exports?.[exported], 0, step(trail, `.${exported}`))
    } else if (name === 'module') this.#refuseModule(script, identifier, trail)
    else return false
    return true
  }

  #refuseModule(script: Script, identifier: Node, trail: Trail): never {
    throw new Refusal(
      'it uses the `module` or `exports` object of its file',
      'give what it needs a name of its own at the top level',
      script.where(identifier.start),
    ).along(trail)
  }

  /** A top-level name: imported, given a value, or declared again, in that order. */
  #needRoot(unit: CapturedUnit, name: string, trail: Trail): void {
    const binding = unit.script.syntax.roots.get(name)
    if (binding === undefined || unit.roots.has(name)) return
    const live = liveRoot(unit, name)
    if (typeof live.value === 'function') this.#remember(live.value as AnyFunction)
    if (live.has && this.#capture.isHandle(live.value)) {
      return this.#takeValue(unit, name, live.value, binding.declaration.start, trail)
    }
    if (binding.imported !== undefined) {
      const { specifier, name: imported } = binding.imported
      const lib = this.#import(unit, specifier, 'import', binding.statement ?? binding.declaration)
      unit.roots.set(name, { mode: 'import', lib, name: imported })
      if (!isBuiltin(specifier) && !specifier.startsWith('.')) this.#warnAboutCalls(unit, name)
      return
    }
    if (this.#needExportedClass(unit, binding, live)) return
    if (binding.kind === 'variable' || binding.kind === 'parameter')
      return this.#needVariable(unit, binding, live, trail)
    // A function declaration may have been given another value since.
    if (live.has && typeof live.value === 'function' && !this.#isMadeHere(unit, live.value, binding.declaration)) {
      return this.#takeValue(unit, name, live.value, binding.declaration.start, trail)
    }
    this.#takeDeclaration(unit, name, trail)
  }

  /** An exported class of a module that workers can import is the one of that module, so that there is only one. */
  #needExportedClass(unit: CapturedUnit, binding: RootBinding, live: Live): boolean {
    const { script } = unit
    const made = functionOrClassIn(binding.kind === 'variable' ? binding.init : binding.declaration)
    const isOther = live.has && made !== undefined && !this.#isMadeHere(unit, live.value, made)
    if (made === undefined || !isClassNode(made) || isOther || !canBeImported(script)) return false
    const exported = script.syntax.exportNameOf(made)
    if (exported === undefined) return false
    const lib = this.#import(unit, script.url, 'import', binding.declaration)
    unit.roots.set(binding.name, { mode: 'import', lib, name: exported })
    return true
  }

  #needVariable(unit: CapturedUnit, binding: RootBinding, live: Live, trail: Trail): void {
    const { name, init, declaration } = binding
    const { script } = unit
    trail.at ??= script.where(declaration.start)
    const made = functionOrClassIn(init)
    const isUnchanged = !live.has || (made !== undefined && this.#isMadeHere(unit, live.value, made))
    const isImport = script.syntax.kind === 'commonjs' && requiredIn(init) !== undefined
    const isNotSetYet = live.value === undefined && binding.declaredBy === 'const'
    if (isImport || isUnchanged || isNotSetYet) return this.#takeDeclaration(unit, name, trail)
    const refusal = findRefusal(this.#capture, live.value)
    if (refusal === undefined) return this.#takeValue(unit, name, live.value, declaration.start, trail)
    if (init !== undefined || script.syntax.topLevelWrites(binding).length > 0) {
      this.#warnAboutCalls(unit, name)
      return this.#takeDeclaration(unit, name, trail)
    }
    const reason = `${refusal.reason} and is assigned inside a function`
    throw new Refusal(reason, refusal.fix, script.where(declaration.start)).along(trail)
  }

  #isMadeHere(unit: CapturedUnit, value: unknown, node: Node): boolean {
    if (typeof value !== 'function') return false
    const inspected = this.#capture.inspect(value)
    if (inspected.type !== 'script') return false
    const script = scriptOf(inspected.scriptId)
    if (script !== unit.script) return false
    return script.syntax.findSite(inspected.line, inspected.column, sourceTextOf(value))?.node === node
  }

  /** Makes functions and classes that are imported known by name. */
  #remember(fn: AnyFunction): void {
    const inspected = this.#capture.inspect(fn)
    if (inspected.type !== 'script') return
    const script = scriptOf(inspected.scriptId)
    if (script.origin !== 'user') return
    addWitness(script, fn)
    if (!isClass(fn)) return
    const site = script.syntax.findSite(inspected.line, inspected.column, sourceTextOf(fn))
    if (site !== undefined) assignClassId(fn, script, site)
  }

  #takeValue(unit: CapturedUnit, name: string, value: unknown, position: number, trail: Trail): void {
    if (unit.roots.has(name)) return
    unit.roots.set(name, { mode: 'value' })
    unit.values.set(name, { ref: this.#capture.encode(value, trail), position })
  }

  /** Takes over a top-level declaration and what else gives the name its meaning. */
  #takeDeclaration(unit: CapturedUnit, name: string, trail: Trail): void {
    if (unit.roots.get(name)?.mode === 'declaration') return
    unit.roots.set(name, { mode: 'declaration' })
    const { script } = unit
    const { syntax } = script
    const binding = syntax.roots.get(name)
    if (binding === undefined) return
    const made = binding.kind === 'variable' ? functionOrClassIn(binding.init) : binding.declaration
    const live = liveRoot(unit, name)
    if (binding.kind === 'class' || (binding.isPlain && made?.type === 'ClassExpression')) {
      if (!unit.classIds.has(name)) unit.classIds.set(name, rootClassId(script, name))
    }
    const properties =
      made !== undefined && typeof live.value === 'function' ? this.#keep(live.value as AnyFunction, unit, trail) : []
    const parts = [partOf(binding), ...(made === undefined ? syntax.topLevelWrites(binding) : [])]
    for (const { statement, depth, property } of syntax.memberAssignments(name)) {
      const isKept = depth === 1 && properties.includes(property)
      if (!isKept) parts.push(statement)
    }
    for (const part of parts) this.#takePart(unit, part, trail)
  }

  /** The properties of a function or class that travel as values. */
  #keep(fn: AnyFunction, unit: CapturedUnit, trail: Trail): (string | undefined)[] {
    const keys = Object.keys(fn)
    if (isClass(fn) || keys.length > 0) unit.after.push(this.#capture.encode(fn, trail))
    return keys
  }

  #takePart(unit: CapturedUnit, part: Node, trail: Trail): void {
    if (unit.parts.has(part)) return
    unit.parts.add(part)
    if (part.type === 'VariableDeclarator') {
      // The other names of a pattern come with it, also those that could have travelled as values.
      for (const name of namesIn(part.id)) {
        unit.values.delete(name)
        unit.roots.set(name, { mode: 'declaration' })
      }
    }
    const locals = this.#reach(unit, part.start, part.end, trail)
    for (const names of locals.values())
      throw new Error(`top-level code refers to local variables: ${[...names].join()}`)
  }

  /** What is set up at the top level, as in `app.use(x)`, is not repeated on workers: that is said. */
  #warnAboutCalls(unit: CapturedUnit, name: string): void {
    const { script } = unit
    for (const statement of script.syntax.setupCalls(name)) {
      const [text = ''] = script.source
        .slice(statement.start, Math.min(statement.end, statement.start + 60))
        .split('\n')
      this.#capture.warnings.push(
        `${script.where(statement.start)}: \`${text}\` does not run on workers. If the shipped code needs it, move it into the function or into the module that makes \`${name}\`.`,
      )
    }
  }
}

/** The variable of a unit that has the value of `exports.name`. */
export function exportVariable(name: string): string {
  return `$exports_${name}`
}

function exposedIndex(unit: CapturedUnit, name: string): number {
  const known = unit.exposed.get(name)
  if (known !== undefined) return known
  unit.exposed.set(name, unit.exposed.size)
  return unit.exposed.size - 1
}

/** The value that a top-level name has now; names that no function uses cannot be read. */
function liveRoot(unit: CapturedUnit, name: string): Live {
  const holder = unit.liveScopes.findLast((scope) => name in scope)
  return holder === undefined ? { has: false, value: undefined } : { has: true, value: holder[name] }
}

/** What has to be taken over to declare a name: the declarator alone where that is possible. */
function partOf({ kind, declaration, statement }: RootBinding): Node {
  if (kind !== 'variable') return declaration
  const list = statement?.type === 'ExportNamedDeclaration' ? statement.declaration : statement
  const isOwn = list?.type === 'VariableDeclaration' && list.declarations.some((item) => item === declaration)
  return isOwn || statement === undefined ? declaration : statement
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
