import path from 'node:path'
import type { CapturedUnit } from './captured.ts'
import { originOfFunction } from './copyability.ts'
import { builtinOf, isNodeGlobal } from './known-values.ts'
import { Refusal, step, type Trail } from './refusal.ts'
import { liveRoot, type RootCapture } from './root-capture.ts'
import type { Script } from './script.ts'
import type { FreeReference } from './script-syntax.ts'
import type { Node } from './syntax.ts'

/** Names that no script declares: Node's, the user's own globals, and what CommonJS modules are given. */
export class GlobalCapture {
  readonly #roots: RootCapture

  constructor(roots: RootCapture) {
    this.#roots = roots
  }

  need(unit: CapturedUnit, { reference, name }: FreeReference, trail: Trail): void {
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
    if (unit.roots.has(name) || !(name in globalThis) || isPlatformGlobal(name)) return
    // One that the user's program has added.
    this.#roots.takeValue(unit, name, (globalThis as Record<string, unknown>)[name], 0, trail)
  }

  /** The names that CommonJS modules are given by Node. */
  #needCommonJs(unit: CapturedUnit, name: string, identifier: Node, trail: Trail): boolean {
    const { script } = unit
    if (name === '__filename') this.#roots.takeValue(unit, name, script.file, 0, trail)
    else if (name === '__dirname') this.#roots.takeValue(unit, name, path.dirname(script.file ?? ''), 0, trail)
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
      this.#roots.takeValue(unit, exportVariable(exported), exports?.[exported], 0, step(trail, `.${exported}`))
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
}

/** True for the globals of this Node, also those that other versions of it lack. */
function isPlatformGlobal(name: string): boolean {
  if (isNodeGlobal(name)) return true
  const descriptor = Object.getOwnPropertyDescriptor(globalThis, name)
  const value: unknown = descriptor?.value
  if (typeof value === 'function')
    return value.name === name && builtinOf(value) === undefined && isBuiltinFunction(value)
  return descriptor?.get !== undefined && isBuiltinFunction(descriptor.get)
}

function isBuiltinFunction(fn: object): boolean {
  const { inspected, script } = originOfFunction(fn)
  return inspected.type === 'native' || script?.origin === 'builtin'
}

/** The variable of a unit that has the value of `exports.name`. */
export function exportVariable(name: string): string {
  return `$exports_${name}`
}
