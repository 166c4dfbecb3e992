import type {
  AnonymousClassDeclaration,
  AnonymousFunctionDeclaration,
  AnyNode,
  ArrowFunctionExpression,
  CallExpression,
  ClassDeclaration,
  ClassExpression,
  FunctionDeclaration,
  FunctionExpression,
  Identifier,
} from 'acorn'

/** Questions to ask of a syntax tree. */

export type FunctionNode =
  | FunctionDeclaration
  | AnonymousFunctionDeclaration
  | FunctionExpression
  | ArrowFunctionExpression
export type ClassNode = ClassDeclaration | AnonymousClassDeclaration | ClassExpression
export type Node = AnyNode

export function isFunctionNode(node: Node): node is FunctionNode {
  return (
    node.type === 'FunctionDeclaration' || node.type === 'FunctionExpression' || node.type === 'ArrowFunctionExpression'
  )
}

export function isClassNode(node: Node): node is ClassNode {
  return node.type === 'ClassDeclaration' || node.type === 'ClassExpression'
}

export function isLoopNode(node: Node): boolean {
  return /^(For|ForIn|ForOf|While|DoWhile)Statement$/.test(node.type)
}

/** The nodes directly below one. */
export function* childrenOf(node: Node): Generator<Node> {
  for (const value of Object.values(node) as unknown[]) {
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) yield item
    } else if (isNode(value)) yield value
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string'
}

/** The function or class that an initializer is; bundlers wrap it to keep its name. */
export function functionOrClassIn(init: Node | null | undefined): FunctionNode | ClassNode | undefined {
  let node = init
  if (node?.type === 'CallExpression' && node.callee.type === 'Identifier' && node.callee.name === '__name') {
    node = node.arguments[0]
  }
  return node && (isFunctionNode(node) || isClassNode(node)) ? node : undefined
}

/** The names that a pattern declares. */
export function namesIn(pattern: Node | null | undefined): string[] {
  switch (pattern?.type) {
    case 'Identifier':
      return [pattern.name]
    case 'ObjectPattern':
      return pattern.properties.flatMap((item) => namesIn(item.type === 'Property' ? item.value : item))
    case 'ArrayPattern':
      return pattern.elements.flatMap((item) => namesIn(item))
    case 'AssignmentPattern':
      return namesIn(pattern.left)
    case 'RestElement':
      return namesIn(pattern.argument)
    default:
      return []
  }
}

/** The variable at the left end of `a.b.c()`. */
export function rootOf(expression: Node): Identifier | undefined {
  let node: Node = expression
  for (;;) {
    if (node.type === 'Identifier') return node
    if (node.type === 'MemberExpression') node = node.object
    else if (node.type === 'CallExpression') node = node.callee
    else if (node.type === 'ChainExpression') node = node.expression
    else return undefined
  }
}

/** The text of a string literal. */
export function literalText(node: Node | null | undefined): string | undefined {
  return node?.type === 'Literal' && typeof node.value === 'string' ? node.value : undefined
}

/** What `require('x')` names, also inside the helpers that compilers put around it. */
export function requiredIn(init: Node | null | undefined): string | undefined {
  let node = init
  for (let depth = 0; node?.type === 'CallExpression' && depth < 3; depth++) {
    const first = node.arguments[0]
    if (isRequireCall(node)) return literalText(first)
    node = first
  }
  return undefined
}

export function isRequireCall(node: Node): node is CallExpression {
  return node.type === 'CallExpression' && node.callee.type === 'Identifier' && node.callee.name === 'require'
}

/** The name of an import or export specifier's part. */
export function moduleName(node: Node): string {
  return node.type === 'Identifier' ? node.name : (literalText(node) ?? '')
}
