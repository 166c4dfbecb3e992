import { CodeWriter, type Edit } from './code-writer.ts'
import { exportVariable } from './global-capture.ts'
import type { CapturedSite, CapturedUnit } from './captured.ts'
import type { FreeReference, Scope } from './script-syntax.ts'
import { functionOrClassIn, isClassNode, type Node } from './syntax.ts'

/** The code of a unit, and which libs it is to be called with. */
export interface EmittedUnit {
  code: string
  imported: number[]
  dynamic: number[]
  required: number[]
  /** Names with values, in the order in which the code sets them. */
  values: string[]
}

/**
 * Writes the module of a unit: a function that is called with imports, and declares what the shipped function needs of
 * its script. The user's text stays as it is, but for references to imports and to variables of functions around it.
 */
export function emitUnit(unit: CapturedUnit): EmittedUnit {
  return new UnitEmitter(unit).emit()
}

class UnitEmitter {
  readonly #unit: CapturedUnit
  readonly #out: CodeWriter
  readonly #prefix: string
  readonly #imported: number[] = []
  readonly #dynamic: number[]
  readonly #required: number[]
  readonly #values: string[]

  constructor(unit: CapturedUnit) {
    this.#unit = unit
    this.#out = new CodeWriter(unit.script)
    this.#prefix = freePrefix(unit.script.source)
    for (const root of unit.roots.values()) {
      if (root.mode === 'import' && !this.#imported.includes(root.lib)) this.#imported.push(root.lib)
    }
    this.#dynamic = [...new Set(unit.dynamicLibs.values())]
    this.#required = [...new Set(unit.requiredLibs.values())]
    this.#values = [...unit.values].sort(([, a], [, b]) => a.position - b.position).map(([name]) => name)
  }

  emit(): EmittedUnit {
    this.#writeStart()
    this.#writeSites()
    const parts = [...this.#unit.parts].sort((a, b) => a.start - b.start)
    // Functions have no effects when they are declared, so that values may refer to them in any order.
    const early = parts.filter((part) => isFunctionPart(part))
    const late = parts.filter((part) => !isFunctionPart(part))
    for (const part of early) this.#writePart(part)
    if (late.length > 0) this.#writeLate(late)
    this.#out.write('}\n')
    return {
      code: this.#out.finish(),
      imported: this.#imported,
      dynamic: this.#dynamic,
      required: this.#required,
      values: this.#values,
    }
  }

  #name(what: string, index: number | '' = ''): string {
    return `${this.#prefix}${what}${index}`
  }

  #writeStart(): void {
    const parameters = [
      this.#name('unit'),
      this.#name('meta'),
      ...this.#imported.map((_, i) => this.#name('lib', i)),
      ...this.#dynamic.map((_, i) => this.#name('import', i)),
      ...this.#required.map((_, i) => this.#name('require', i)),
    ]
    const unit = this.#name('unit')
    this.#out.write(`export default async (${parameters.join(', ')}) => {\n`)
    if (this.#values.length > 0) this.#out.write(`let ${this.#values.join(', ')};\n`)
    const value = this.#name('value')
    this.#out.write(
      `${unit}.setters = [${this.#values.map((name) => `(${value}) => { ${name} = ${value}; }`).join(', ')}];\n`,
    )
    const exposed = [...this.#unit.exposed].sort(([, a], [, b]) => a - b)
    this.#out.write(`${unit}.exposed = [${exposed.map(([name]) => `() => ${name}`).join(', ')}];\n`)
  }

  #writeSites(): void {
    const sites = [...this.#unit.sites.values()].sort((a, b) => a.index - b.index)
    this.#out.write(`${this.#name('unit')}.sites = [\n`)
    for (const site of sites) this.#writeSite(site)
    this.#out.write('];\n')
  }

  #writeSite({ site, heritage, scopes }: CapturedSite): void {
    const { start, end, method } = site
    const isMethod = method !== undefined
    const superclass = heritage === undefined ? [] : [this.#name('superclass')]
    const parameters = [...superclass, ...scopes.map((_, i) => this.#name('scope', i))]
    this.#out.write(`(${parameters.join(', ')}) => (`)
    if (isMethod) this.#out.write(`${this.#name('unit')}.method({ `)
    const edits = this.#edits(start, end, scopes)
    if (heritage === undefined) this.#out.copy(start, end, edits)
    else {
      const replaced = { start: heritage.start, end: heritage.end, text: this.#name('superclass') }
      const others = edits.filter((edit) => edit.end <= heritage.start || edit.start >= heritage.end)
      this.#out.copy(
        start,
        end,
        [...others, replaced].sort((a, b) => a.start - b.start),
      )
    }
    if (isMethod) this.#out.write(` }, '${method}')`)
    this.#out.write('),\n')
  }

  /** Declarations with effects, and values, in the order in which the driver's script made them. */
  #writeLate(late: readonly Node[]): void {
    const unit = this.#name('unit')
    this.#out.write(`await ${unit}.ready();\n`)
    let next = 0
    for (const part of late) {
      let last = -1
      for (; next < this.#values.length; next++) {
        const position = this.#unit.values.get(this.#values[next] as string)?.position ?? 0
        if (position > part.start) break
        last = next
      }
      if (last >= 0) this.#out.write(`${unit}.at(${last});\n`)
      this.#writePart(part)
    }
  }

  #writePart(part: Node): void {
    const { start, end } = part
    const edits = this.#edits(start, end, [])
    if (part.type === 'VariableDeclarator') {
      const list = this.#unit.script.syntax.parentOf(part)
      const keyword = list?.type === 'VariableDeclaration' && list.kind !== 'const' ? list.kind : 'const'
      const name = part.id?.type === 'Identifier' ? part.id.name : ''
      if (part.init && isClassNode(part.init) && this.#unit.classIds.has(name)) {
        this.#out.write(`${keyword} ${name} = `)
        return this.#writeClass(part.init, name)
      }
      this.#out.write(`${keyword} `)
      this.#out.copy(start, end, edits)
      this.#out.write(';\n')
    } else if (part.type === 'ClassDeclaration' && this.#unit.classIds.has(part.id?.name ?? '')) {
      const name = part.id?.name ?? ''
      this.#out.write(`let ${name} = `)
      this.#writeClass(part, name)
    } else {
      this.#out.copy(start, end, edits)
      this.#out.write(part.type.endsWith('Declaration') ? '\n' : '\n;\n')
    }
  }

  /** A class that the worker has from another function already is not made again. */
  #writeClass(node: Node, name: string): void {
    const { start, end } = node
    const id = this.#unit.classIds.get(name) ?? ''
    // A variable gives a class without a name its name.
    this.#out.write(`${this.#name('unit')}.declareClass(${JSON.stringify(id)}, () => { const ${name} = `)
    this.#out.copy(start, end, this.#edits(start, end, []))
    this.#out.write(`; return ${name}; });\n`)
  }

  #edits(start: number, end: number, scopes: readonly Scope[]): Edit[] {
    const edits: Edit[] = []
    const { syntax } = this.#unit.script
    for (const special of syntax.specialsIn(start, end)) {
      const { node } = special
      edits.push({ start: node.start, end: node.end, text: this.#specialText(special) })
    }
    for (const free of syntax.freeReferences(start, end)) {
      const edit = this.#referenceEdit(free, scopes)
      if (edit !== undefined) edits.push(edit)
    }
    return edits.sort((a, b) => a.start - b.start || b.end - a.end)
  }

  #specialText(special: { type: string; specifier?: string }): string {
    if (special.type === 'meta') return this.#name('meta')
    const { specifier = '' } = special
    return special.type === 'dynamic'
      ? `${this.#name('import', this.#dynamic.indexOf(this.#unit.dynamicLibs.get(specifier) ?? -1))}()`
      : `${this.#name('require', this.#required.indexOf(this.#unit.requiredLibs.get(specifier) ?? -1))}()`
  }

  #referenceEdit({ reference, name, kind }: FreeReference, scopes: readonly Scope[]): Edit | undefined {
    const { syntax } = this.#unit.script
    const { identifier } = reference
    const { start, end } = identifier
    const parent = syntax.parentOf(identifier)
    if (name === 'exports' && kind === 'global' && parent?.type === 'MemberExpression') {
      const exported = exportVariable(this.#unit.script.source.slice(parent.property.start, parent.property.end))
      return this.#unit.roots.has(exported) ? { start: parent.start, end: parent.end, text: exported } : undefined
    }
    const target =
      kind === 'local' ? this.#localTarget(reference.resolved?.scope, name, scopes) : this.#rootTarget(name)
    if (target === undefined) return undefined
    const isShorthand = isShorthandIn(parent, identifier, syntax.parentOf(parent ?? identifier))
    if (isShorthand) return { start, end, text: `${name}: ${target}` }
    const text = this.#called(target, identifier, parent)
    return { start, end, text, isCalled: text !== target }
  }

  #localTarget(scope: Scope | undefined, name: string, scopes: readonly Scope[]): string | undefined {
    const index = scope === undefined ? -1 : scopes.indexOf(scope)
    return index < 0 ? undefined : `${this.#name('scope', index)}.${name}`
  }

  #rootTarget(name: string): string | undefined {
    const root = this.#unit.roots.get(name)
    if (root?.mode !== 'import') return undefined
    const namespace = this.#name('lib', this.#imported.indexOf(root.lib))
    if (root.name === '*') return namespace
    return /^[\p{L}_$][\p{L}\d_$]*$/u.test(root.name)
      ? `${namespace}.${root.name}`
      : `${namespace}[${JSON.stringify(root.name)}]`
  }

  /** A call must not get the module as its `this`. */
  #called(target: string, identifier: Node, parent: Node | undefined): string {
    const isCalled =
      (parent?.type === 'CallExpression' && parent.callee === identifier) ||
      (parent?.type === 'TaggedTemplateExpression' && parent.tag === identifier)
    if (!isCalled || !target.includes('.')) return target
    return `${this.#startsStatement(parent) ? ';' : ''}(0, ${target})`
  }

  /** A line that begins with a parenthesis would go on with the line before it. */
  #startsStatement(node: Node): boolean {
    const { syntax } = this.#unit.script
    let at: Node | undefined = node
    while (at !== undefined && at.type !== 'ExpressionStatement')
      at = at.start === node.start ? syntax.parentOf(at) : undefined
    if (at === undefined || at.start !== node.start) return false
    const around = syntax.parentOf(at)?.type
    return around === 'BlockStatement' || around === 'Program' || around === 'StaticBlock' || around === 'SwitchCase'
  }
}

function isFunctionPart(part: Node): boolean {
  if (part.type === 'FunctionDeclaration') return true
  if (part.type !== 'VariableDeclarator' || part.id.type !== 'Identifier') return false
  const made = functionOrClassIn(part.init)
  return made !== undefined && !isClassNode(made)
}

/** True for `{ x }`, which has to become `{ x: y }`. */
function isShorthandIn(parent: Node | undefined, identifier: Node, around: Node | undefined): boolean {
  if (parent?.type === 'Property') return parent.shorthand && parent.value === identifier
  return (
    parent?.type === 'AssignmentPattern' &&
    parent.left === identifier &&
    around?.type === 'Property' &&
    around.shorthand
  )
}

/** A start for names of our own that the script does not use. */
function freePrefix(source: string): string {
  let n = 0
  while (source.includes(`$s${n}_`)) n++
  return `$s${n}_`
}
