import type { Scope, Variable } from './script-syntax.ts'
import { moduleName, type Node } from './syntax.ts'

/** A top-level name of a script and where it comes from. */
export interface RootBinding {
  name: string
  kind: 'import' | 'variable' | 'function' | 'class' | 'parameter'
  variable: Variable
  /** The top-level statement. */
  statement: Node | undefined
  /** The declarator, function, class or import specifier. */
  declaration: Node
  /** What a variable is initialized with. */
  init: Node | undefined
  /** False for one of several names in a pattern. */
  isPlain: boolean
  /** For imports: from where, and the name there, `*` for all. */
  imported: { specifier: string; name: string } | undefined
}

const kinds: Record<string, RootBinding['kind']> = {
  ImportBinding: 'import',
  Variable: 'variable',
  FunctionName: 'function',
  ClassName: 'class',
  Parameter: 'parameter',
}

export function findRoots(
  scopes: Iterable<Scope>,
  statementOf: (node: Node) => Node | undefined,
): Map<string, RootBinding> {
  const roots = new Map<string, RootBinding>()
  for (const scope of scopes) {
    for (const variable of scope.variables) {
      const definition = variable.defs[0]
      const kind = kinds[definition?.type ?? '']
      if (definition === undefined || kind === undefined) continue
      const declaration = definition.node
      const declarator = declaration.type === 'VariableDeclarator' ? declaration : undefined
      roots.set(variable.name, {
        name: variable.name,
        kind,
        variable,
        statement: statementOf(declaration),
        declaration,
        init: declarator?.init ?? undefined,
        isPlain: declarator === undefined || declarator.id.type === 'Identifier',
        imported: kind === 'import' ? importOf(declaration, definition.parent) : undefined,
      })
    }
  }
  return roots
}

/** What else a script imports from the package that an import names. */
export function importsAlongside(roots: ReadonlyMap<string, RootBinding>, specifier: string): string[] {
  const name = packageIn(specifier)
  if (name === undefined) return []
  const others = new Set<string>()
  for (const { imported } of roots.values()) {
    if (imported !== undefined && imported.specifier !== specifier && packageIn(imported.specifier) === name) {
      others.add(imported.specifier)
    }
  }
  return [...others]
}

/** The package that an import names, such as `@scope/name` in `@scope/name/part`. */
function packageIn(specifier: string): string | undefined {
  return /^(?:@[^/]+\/)?[^./:@][^/:]*/.exec(specifier)?.[0]
}

function importOf(specifier: Node, statement: Node | null | undefined): RootBinding['imported'] {
  if (statement?.type !== 'ImportDeclaration') return undefined
  const from = String(statement.source.value)
  if (specifier.type === 'ImportDefaultSpecifier') return { specifier: from, name: 'default' }
  if (specifier.type === 'ImportSpecifier') return { specifier: from, name: moduleName(specifier.imported) }
  return { specifier: from, name: '*' }
}
