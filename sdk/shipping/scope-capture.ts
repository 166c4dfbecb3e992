import type { Capture } from './capture.ts'
import type { CapturedUnit } from './captured.ts'
import { readVariable, type LiveVariables } from './inspect.ts'
import type { ScopeVariable, ValueRef } from './manifest.ts'
import { Refusal, step, type Trail } from './refusal.ts'
import type { Script } from './script.ts'
import type { Scope, Site, Variable } from './script-syntax.ts'
import { isClassNode, isFunctionNode, isLoopNode, literalText, moduleName, type Node } from './syntax.ts'

type Read = ReturnType<typeof readVariable>

interface ScopeInstance {
  id: number
  live: LiveVariables
  /** Functions and classes of the text that were made in it, and can have been made only once. */
  made: Set<Node>
  /** What closures over it were found in. */
  holders: Set<Trail | undefined>
}

/**
 * Local variables of the functions around closures. Closures that were made in one run of a function share its
 * variables on the worker too. V8 does not tell which those are, so it is inferred: two scopes are one when they belong
 * to the same text and every variable has the same value, unless both made a function that each run makes only once.
 * When it can be several, it is the one of the other closures of the same object.
 */
export class ScopeCapture {
  readonly #capture: Capture
  readonly #instances = new Map<Scope, ScopeInstance[]>()

  constructor(capture: Capture) {
    this.#capture = capture
  }

  idOf(
    unit: CapturedUnit,
    scope: Scope,
    names: ReadonlySet<string>,
    liveScopes: readonly LiveVariables[],
    site: Site,
    trail: Trail,
  ): number {
    const { script } = unit
    if (scope.type === 'function-expression-name') throw hiddenName(script, scope.set).along(trail)
    const live = liveScopes.find((candidate) => [...names].some((name) => name in candidate)) ?? {}
    const madeOnce = isMadeOncePer(script, scope, site.node) ? site.node : undefined
    const instance = this.#instanceOf(scope, live, madeOnce, trail.parent)
    const variables = this.#capture.scopes[instance.id] as ScopeVariable[]
    for (const name of names) {
      if (variables.some(([known]) => known === name)) continue
      // For functions every variable is kept.
      if (!(name in live) && isClassNode(site.node)) throw unreadable(script, name, scope.set.get(name)).along(trail)
      const value = readVariable(live, name)?.value
      const ref = this.#encodeVariable(unit, scope.set.get(name), value, step(trail, name))
      variables.push([name, ref, readyAt(scope.set.get(name))])
    }
    return instance.id
  }

  #instanceOf(scope: Scope, live: LiveVariables, madeOnce: Node | undefined, holder: Trail | undefined): ScopeInstance {
    let instances = this.#instances.get(scope)
    if (instances === undefined) this.#instances.set(scope, (instances = []))
    const possible = instances.filter(
      (instance) => haveSameValues(instance.live, live) && (madeOnce === undefined || !instance.made.has(madeOnce)),
    )
    let found = possible.find(({ holders }) => holders.has(holder)) ?? possible[0]
    if (found === undefined) {
      found = { id: this.#capture.scopes.length, live, made: new Set(), holders: new Set() }
      this.#capture.scopes.push([])
      instances.push(found)
    }
    if (madeOnce !== undefined) found.made.add(madeOnce)
    found.holders.add(holder)
    return found
  }

  #encodeVariable(unit: CapturedUnit, variable: Variable | undefined, value: unknown, trail: Trail): ValueRef {
    const { script } = unit
    const definition = variable?.defs[0]
    if (definition !== undefined) trail.at ??= script.where(definition.name.start)
    const imported = definition === undefined ? undefined : localImport(script, definition.node, definition.name.name)
    if (imported === undefined || this.#capture.isHandle(value)) return this.#capture.encode(value, trail)
    const { specifier, form, path } = imported
    const at = trail.at ?? ''
    const lib = this.#capture.addImport({ specifier, directory: script.directory, form, at })
    const id = this.#capture.nodes.length
    this.#capture.nodes.push({ type: 'export', lib, form: form === 'require' ? 'required' : 'namespace', path })
    return id
  }
}

/** The position in the text from which on a variable has its value. */
function readyAt(variable: Variable | undefined): number {
  const definition = variable?.defs[0]
  if (definition === undefined || definition.type === 'FunctionName') return -1
  return definition.type === 'Variable' || definition.type === 'ClassName' ? definition.node.end : definition.name.start
}

/** Names that are only used while a class is defined are gone afterwards. */
function unreadable(script: Script, name: string, variable: Variable | undefined): Refusal {
  const declared = variable?.defs[0]
  return new Refusal(
    `it uses the local variable \`${name}\` in the name of a member, which cannot be read afterwards`,
    'declare the variable at the top level of the file',
    declared === undefined ? undefined : script.where(declared.name.start),
  )
}

/** V8 does not list the name that a function expression has inside of itself. */
function hiddenName(script: Script, names: ReadonlyMap<string, Variable>): Refusal {
  const [name = '', variable] = [...names][0] ?? []
  const declared = variable?.defs[0]
  return new Refusal(
    `it uses \`${name}\`, the name of the function expression around it, which cannot be read from outside`,
    `give the function a variable, as in const ${name} = function () {…}, or declare it`,
    declared === undefined ? undefined : script.where(declared.name.start),
  )
}

function haveSameValues(a: LiveVariables, b: LiveVariables): boolean {
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => key in b && isSame(readVariable(a, key), readVariable(b, key)))
  )
}

function isSame(a: Read, b: Read): boolean {
  return a === undefined || b === undefined ? a === b : Object.is(a.value, b.value)
}

/** True when each run of the code that makes `scope` makes the function at `node` at most once. */
function isMadeOncePer(script: Script, scope: Scope, node: Node): boolean {
  let around = script.syntax.parentOf(node)
  while (
    around !== undefined &&
    !isFunctionNode(around) &&
    !isLoopNode(around) &&
    around.type !== 'PropertyDefinition'
  ) {
    around = script.syntax.parentOf(around)
  }
  return around !== undefined && scope.block.start >= around.start && scope.block.end <= around.end
}

interface LocalImport {
  specifier: string
  form: 'import' | 'require'
  path: string[]
}

/** `const { x } = await import('lit')` or `const m = require('lit')` inside a function. */
function localImport(script: Script, declaration: Node, name: string): LocalImport | undefined {
  if (declaration.type !== 'VariableDeclarator' || !declaration.init) return undefined
  const { id, init } = declaration
  const call = init.type === 'AwaitExpression' ? init.argument : init
  const special = script.syntax.specialsIn(call.start, call.end).find(({ node }) => node === call)
  if (special === undefined || special.type === 'meta') return undefined
  const { specifier } = special
  const form = special.type === 'require' ? 'require' : 'import'
  if (id.type === 'Identifier') return { specifier, form, path: [] }
  if (id.type !== 'ObjectPattern') return undefined
  for (const property of id.properties) {
    if (property.type !== 'Property' || property.computed) continue
    const isIt =
      (property.value.type === 'Identifier' && property.value.name === name) ||
      (property.value.type === 'AssignmentPattern' &&
        property.value.left.type === 'Identifier' &&
        property.value.left.name === name)
    if (isIt) return { specifier, form, path: [literalText(property.key) ?? moduleName(property.key)] }
  }
  return undefined
}
