import { isBuiltin } from 'node:module'
import { isClass, sourceTextOf, type AnyClass, type AnyFunction } from './any-function.ts'
import type { Capture } from './capture.ts'
import type { CapturedUnit } from './captured.ts'
import { addWitness, assignClassId, rootClassId } from './class-ids.ts'
import { findRefusal } from './find-refusal.ts'
import { moduleExportOf } from './importable.ts'
import { readVariable } from './inspect.ts'
import { Refusal, type Trail } from './refusal.ts'
import { importsAlongside, type RootBinding } from './root-bindings.ts'
import { scriptOf } from './script.ts'
import { functionOrClassIn, isClassNode, namesIn, requiredIn, type Node } from './syntax.ts'

interface Live {
  has: boolean
  value: unknown
}

/** Goes over everything that a piece of text refers to. */
type Reach = (unit: CapturedUnit, part: Node, trail: Trail) => void

/** How a worker gets the top-level names of a script: imported, given a value, or declared again, in that order. */
export class RootCapture {
  readonly #capture: Capture
  readonly #reach: Reach

  constructor(capture: Capture, reach: Reach) {
    this.#capture = capture
    this.#reach = reach
  }

  /** A top-level name: imported, given a value, or declared again, in that order. */
  need(unit: CapturedUnit, name: string, trail: Trail): void {
    const binding = unit.script.syntax.roots.get(name)
    if (binding === undefined || unit.roots.has(name)) return
    const live = liveRoot(unit, name)
    if (typeof live.value === 'function') this.#remember(live.value as AnyFunction)
    if (live.has && this.#capture.isHandle(live.value)) {
      return this.takeValue(unit, name, live.value, binding.declaration.start, trail)
    }
    if (binding.imported !== undefined) {
      const { specifier, name: imported } = binding.imported
      const lib = importInto(this.#capture, unit, specifier, 'import', binding.statement ?? binding.declaration)
      unit.roots.set(name, { mode: 'import', lib, name: imported })
      if (!isBuiltin(specifier) && !specifier.startsWith('.')) this.#warnAboutCalls(unit, name)
      return
    }
    if (this.#needExportedClass(unit, binding, live)) return
    if (binding.kind === 'variable' || binding.kind === 'parameter')
      return this.#needVariable(unit, binding, live, trail)
    // A function declaration may have been given another value since.
    if (live.has && typeof live.value === 'function' && !this.#isMadeHere(unit, live.value, binding.declaration)) {
      return this.takeValue(unit, name, live.value, binding.declaration.start, trail)
    }
    this.takeDeclaration(unit, name, trail)
  }

  /** An exported class of a module that workers can import is the one of that module, so that there is only one. */
  #needExportedClass(unit: CapturedUnit, binding: RootBinding, live: Live): boolean {
    const { script } = unit
    const made = functionOrClassIn(binding.kind === 'variable' ? binding.init : binding.declaration)
    const isOther = live.has && made !== undefined && !this.#isMadeHere(unit, live.value, made)
    if (made === undefined || !isClassNode(made) || isOther) return false
    const exported = moduleExportOf(live.value as AnyClass, script, { node: made })
    if (exported === undefined) return false
    const lib = importInto(this.#capture, unit, script.url, 'import', binding.declaration)
    unit.roots.set(binding.name, { mode: 'import', lib, name: exported.path[0] ?? 'default' })
    return true
  }

  #needVariable(unit: CapturedUnit, binding: RootBinding, live: Live, trail: Trail): void {
    const { name, init, declaration } = binding
    const { script } = unit
    trail.at ??= script.where(declaration.start)
    const made = functionOrClassIn(init)
    const isUnchanged = !live.has || (made !== undefined && this.#isMadeHere(unit, live.value, made))
    const isImport = script.syntax.kind === 'commonjs' && requiredIn(init) !== undefined
    if (isImport || isUnchanged) return this.takeDeclaration(unit, name, trail)
    const refusal = findRefusal(this.#capture, live.value)
    if (refusal === undefined) return this.takeValue(unit, name, live.value, declaration.start, trail)
    if (init !== undefined || script.syntax.topLevelWrites(binding).length > 0) {
      this.#warnAboutCalls(unit, name)
      return this.takeDeclaration(unit, name, trail)
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

  takeValue(unit: CapturedUnit, name: string, value: unknown, position: number, trail: Trail): void {
    if (unit.roots.has(name)) return
    unit.roots.set(name, { mode: 'value' })
    unit.values.set(name, { ref: this.#capture.encode(value, trail), position })
  }

  /** Takes over a top-level declaration and what else gives the name its meaning. */
  takeDeclaration(unit: CapturedUnit, name: string, trail: Trail): void {
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
    this.#reach(unit, part, trail)
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

/** The value that a top-level name has now: it has none before it is initialized, or when no function uses it. */
export function liveRoot(unit: CapturedUnit, name: string): Live {
  const holder = unit.liveScopes.findLast((scope) => name in scope)
  const read = readVariable(holder, name)
  return { has: read !== undefined, value: read?.value }
}

/** What has to be taken over to declare a name: the declarator alone where that is possible. */
function partOf({ kind, declaration, statement }: RootBinding): Node {
  if (kind !== 'variable') return declaration
  const list = statement?.type === 'ExportNamedDeclaration' ? statement.declaration : statement
  const isOwn = list?.type === 'VariableDeclaration' && list.declarations.some((item) => item === declaration)
  return isOwn || statement === undefined ? declaration : statement
}

/** An import of a unit's script, as a lib of the capture. */
export function importInto(
  capture: Capture,
  { script }: CapturedUnit,
  specifier: string,
  form: 'import' | 'require',
  node: Node,
): number {
  const alongside = importsAlongside(script.syntax.roots, specifier)
  const at = script.where(node.start)
  return capture.addImport({ specifier, directory: script.directory, form, at, alongside })
}
