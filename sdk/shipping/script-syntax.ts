import * as acorn from 'acorn'
import type { Identifier, MetaProperty, Program } from 'acorn'
import { analyze } from 'eslint-scope'
import { splitParameters } from './parameter-scopes.ts'
import { findRoots, type RootBinding } from './root-bindings.ts'
import type { Position } from './script.ts'
import {
  childrenOf,
  functionOrClassIn,
  isClassNode,
  isFunctionNode,
  isLoopNode,
  isRequireCall,
  literalText,
  moduleName,
  rootOf,
  type ClassNode,
  type FunctionNode,
  type Node,
} from './syntax.ts'

/** What is used of eslint-scope's results. */
export interface Scope {
  type: string
  block: Node
  variables: Variable[]
  set: Map<string, Variable>
  references: Reference[]
  childScopes: Scope[]
  variableScope: Scope
}
export interface Variable {
  name: string
  scope: Scope
  defs: { type: string; node: Node; parent?: Node | null; name: Identifier }[]
  references: Reference[]
}
export interface Reference {
  identifier: Identifier
  from: Scope
  resolved: Variable | null
  init?: boolean
  isWrite(): boolean
}

/** A function or class in the text; for methods, with the name and what is around it. */
export interface Site {
  node: FunctionNode | ClassNode
  start: number
  end: number
  method: 'value' | 'get' | 'set' | undefined
}

/** A reference to something outside of a piece of text. */
export interface FreeReference {
  reference: Reference
  name: string
  kind: 'local' | 'root' | 'global' | 'arguments'
}

/** Places where a module says something that a worker has to understand differently. */
export type Special =
  | { type: 'meta'; node: MetaProperty }
  | { type: 'dynamic' | 'require'; node: Node; callee: Node | undefined; specifier: string }

/** The syntax tree and the scopes of one script. */
export class ScriptSyntax {
  readonly kind: 'module' | 'commonjs' | 'unit'
  /** Top-level statements. */
  readonly body: readonly Node[]
  /** Top-level names. */
  readonly roots: ReadonlyMap<string, RootBinding>
  readonly #statements: ReadonlySet<Node>
  readonly #source: string
  readonly #lineStarts: number[] = [0]
  readonly #parents = new Map<Node, Node | undefined>()
  readonly #sites: (FunctionNode | ClassNode)[] = []
  readonly #specials: Special[] = []
  readonly #references: Reference[] = []
  readonly #rootScopes = new Set<Scope>()

  constructor(source: string, isModule: boolean, isUnit: boolean) {
    this.#source = source
    this.kind = isUnit ? 'unit' : isModule ? 'module' : 'commonjs'
    const program = parse(source, isModule)
    for (let at = source.indexOf('\n'); at >= 0; at = source.indexOf('\n', at + 1)) this.#lineStarts.push(at + 1)
    this.#walk(program, undefined)
    const global = this.#analyze(program)
    this.body = this.#findBody(program, global)
    this.#statements = new Set(this.body)
    this.roots = findRoots(this.#rootScopes, (node) => this.statementOf(node))
  }

  #walk(node: Node, parent: Node | undefined): void {
    this.#parents.set(node, parent)
    if (isFunctionNode(node) || isClassNode(node)) this.#sites.push(node)
    else if (node.type === 'MetaProperty' && node.meta.name === 'import') this.#specials.push({ type: 'meta', node })
    else if (node.type === 'ImportExpression') {
      const specifier = literalText(node.source)
      if (specifier !== undefined) this.#specials.push({ type: 'dynamic', node, callee: undefined, specifier })
    } else if (isRequireCall(node) && this.kind === 'commonjs') {
      const specifier = literalText(node.arguments[0])
      if (specifier !== undefined) this.#specials.push({ type: 'require', node, callee: node.callee, specifier })
    }
    for (const child of childrenOf(node)) this.#walk(child, node)
  }

  #analyze(program: Program): Scope {
    const manager = analyze(program as never, {
      ecmaVersion: 2024,
      sourceType: this.kind === 'commonjs' ? 'commonjs' : 'module',
      ignoreEval: true,
    }) as unknown as { scopes: Scope[]; globalScope: Scope }
    splitParameters(manager.scopes)
    for (const scope of manager.scopes) this.#references.push(...scope.references)
    this.#references.sort((a, b) => a.identifier.start - b.identifier.start)
    return manager.globalScope
  }

  #findBody(program: Program, global: Scope): readonly Node[] {
    this.#rootScopes.add(global)
    for (const scope of global.childScopes) if (scope.block === program) this.#rootScopes.add(scope)
    if (this.kind !== 'unit') return program.body
    // The whole of a unit is the function that it exports.
    const exported = program.body.find((statement) => statement.type === 'ExportDefaultDeclaration')
    const wrapper = exported?.declaration
    if (wrapper?.type !== 'ArrowFunctionExpression' || wrapper.body.type !== 'BlockStatement') return program.body
    for (const scope of this.#rootScopes) {
      for (const child of scope.childScopes) if (child.block === wrapper) this.#rootScopes.add(child)
    }
    return wrapper.body.body
  }

  parentOf(node: Node): Node | undefined {
    return this.#parents.get(node)
  }

  /** The top-level statement that a node is in. */
  statementOf(node: Node): Node | undefined {
    let at: Node | undefined = node
    while (at !== undefined && !this.#statements.has(at)) at = this.#parents.get(at)
    return at
  }

  position(offset: number): Position {
    let low = 0
    let high = this.#lineStarts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#lineStarts[middle] as number) <= offset) low = middle
      else high = middle - 1
    }
    return { line: low, column: offset - (this.#lineStarts[low] as number) }
  }

  /** The innermost function or class around a position that has exactly this text. */
  findSite(line: number, column: number, text: string): Site | undefined {
    const at = (this.#lineStarts[line] ?? 0) + column
    let found: Site | undefined
    for (const node of this.#sites) {
      const site = this.#siteOf(node)
      if (at < site.start || at > site.end || site.end - site.start !== text.length) continue
      if (this.#source.startsWith(text, site.start) && (found === undefined || site.start >= found.start)) found = site
    }
    return found
  }

  #siteOf(node: FunctionNode | ClassNode): Site {
    const parent = this.#parents.get(node)
    const isMethod =
      (parent?.type === 'MethodDefinition' ||
        (parent?.type === 'Property' && (parent.method || parent.kind !== 'init'))) &&
      parent.value === node
    if (!isMethod) return { node, start: node.start, end: node.end, method: undefined }
    const method = parent.kind === 'get' || parent.kind === 'set' ? parent.kind : 'value'
    let { start } = parent
    if (parent.type === 'MethodDefinition' && parent.static) {
      // A function's text begins after the word `static`.
      start = /^static\s*/.exec(this.#source.slice(start))?.[0].length ?? 0
      start += parent.start
    }
    return { node, start, end: parent.end, method }
  }

  /** The references inside a piece of text to what is outside of it, in the order of the text. */
  freeReferences(start: number, end: number): FreeReference[] {
    const found: FreeReference[] = []
    for (let i = this.#firstReferenceFrom(start); i < this.#references.length; i++) {
      const reference = this.#references[i] as Reference
      if (reference.identifier.start >= end) break
      const { resolved } = reference
      const { name } = reference.identifier
      const isRoot = resolved !== null && this.#rootScopes.has(resolved.scope)
      if (resolved !== null && !isRoot) {
        const { block } = resolved.scope
        if (block.start >= start && block.end <= end) continue
      }
      const isArguments = resolved?.name === 'arguments' && resolved.defs.length === 0
      const kind = isRoot
        ? this.roots.has(name)
          ? 'root'
          : 'global'
        : resolved === null
          ? 'global'
          : isArguments
            ? 'arguments'
            : 'local'
      found.push({ reference, name, kind })
    }
    return found
  }

  #firstReferenceFrom(start: number): number {
    let low = 0
    let high = this.#references.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#references[middle] as Reference).identifier.start < start) low = middle + 1
      else high = middle
    }
    return low
  }

  specialsIn(start: number, end: number): Special[] {
    return this.#specials.filter(({ node }) => node.start >= start && node.end <= end)
  }

  /** True for what runs once when the script does: not in a function, a loop or the initializer of a field. */
  isMadeOnce(node: Node): boolean {
    for (let at = node, around = this.#parents.get(at); around !== undefined; around = this.#parents.get(at)) {
      if (this.#statements.has(at)) return true
      if (isLoopNode(around) || (isFunctionNode(around) && !this.#runsOnce(around))) return false
      if (around.type === 'PropertyDefinition' && !around.static && around.value === at) return false
      at = around
    }
    return false
  }

  /** True for the function in a unit that declares a class of the top level, and for a bundled CommonJS file. */
  #runsOnce(node: Node): boolean {
    const around = this.#parents.get(node)
    if (around?.type === 'CallExpression' && around.callee.type === 'MemberExpression') {
      return this.kind === 'unit' && moduleName(around.callee.property) === 'declareClass'
    }
    const call = around?.type === 'Property' ? this.#parents.get(this.#parents.get(around) ?? around) : undefined
    return (
      call?.type === 'CallExpression' && call.callee.type === 'Identifier' && call.callee.name.startsWith('__commonJS')
    )
  }

  /** The top-level name of a function or class. */
  rootNameOf(node: FunctionNode | ClassNode): string | undefined {
    for (const [name, binding] of this.roots) {
      if (binding.declaration === node) return name
      if (binding.kind === 'variable' && binding.isPlain && functionOrClassIn(binding.init) === node) return name
    }
    return undefined
  }

  /** The name that a top-level function or class is exported by. */
  exportNameOf(node: FunctionNode | ClassNode): string | undefined {
    if (this.kind !== 'module') return undefined
    const name = this.rootNameOf(node)
    for (const statement of this.body) {
      if (statement.type === 'ExportDefaultDeclaration') {
        const { declaration } = statement
        if (declaration === node || (declaration.type === 'Identifier' && declaration.name === name)) return 'default'
      }
      if (name === undefined || statement.type !== 'ExportNamedDeclaration' || statement.source) continue
      if (statement.declaration && this.roots.get(name)?.statement === statement) return name
      const specifier = statement.specifiers.find(({ local }) => moduleName(local) === name)
      if (specifier !== undefined) return moduleName(specifier.exported)
    }
    return undefined
  }

  /** Assignments to a top-level variable that run with the module, apart from its declaration. */
  topLevelWrites(binding: RootBinding): Node[] {
    const writes = binding.variable.references.filter(
      (reference) => reference.isWrite() && !reference.init && this.#rootScopes.has(reference.from.variableScope),
    )
    const statements = writes.map((reference) => this.statementOf(reference.identifier))
    return [...new Set(statements)].filter((node): node is Node => node !== undefined && node !== binding.statement)
  }

  /** Top-level statements that assign to a property of a top-level name: the path after the name is given with them. */
  memberAssignments(name: string): { statement: Node; depth: number; property: string | undefined }[] {
    return this.body.flatMap((statement) => {
      if (statement.type !== 'ExpressionStatement' || statement.expression.type !== 'AssignmentExpression') return []
      const { left } = statement.expression
      if (left.type !== 'MemberExpression' || rootOf(left)?.name !== name) return []
      const isDirect = left.object.type === 'Identifier'
      const property = left.computed ? literalText(left.property) : moduleName(left.property)
      return [{ statement, depth: isDirect ? 1 : 2, property }]
    })
  }

  /** Top-level statements that call a method of a top-level name which looks like one that sets it up. */
  setupCalls(name: string): Node[] {
    return this.body.filter((statement) => {
      if (statement.type !== 'ExpressionStatement') return false
      let { expression }: { expression: Node } = statement
      if (expression.type === 'AwaitExpression') expression = expression.argument
      if (expression.type !== 'CallExpression' || expression.callee.type !== 'MemberExpression') return false
      const { property } = expression.callee
      const isSetup =
        property.type === 'Identifier' && /^(use|set|config|register|init|extend|add|load)/i.test(property.name)
      return isSetup && rootOf(expression.callee)?.name === name
    })
  }
}

function parse(source: string, isModule: boolean): Program {
  const options = { ecmaVersion: 'latest', allowHashBang: true, ranges: true } as const
  return isModule
    ? acorn.parse(source, { ...options, sourceType: 'module' })
    : acorn.parse(source, { ...options, sourceType: 'script', allowReturnOutsideFunction: true })
}
