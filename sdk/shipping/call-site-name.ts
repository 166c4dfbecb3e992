import { sourceTextOf, type AnyFunction } from './any-function.ts'
import { inspectFunction } from './inspect.ts'
import { scriptOf } from './script.ts'
import type { ScriptSyntax } from './script-syntax.ts'
import type { Node } from './syntax.ts'

/**
 * What a nameless function is called where it is written: `square` for `const square = remote((x) => x * x)`, also with
 * calls around or behind it, and for properties. Undefined when it is only passed on.
 */
export function callSiteName(fn: AnyFunction): string | undefined {
  const inspected = inspectFunction(fn)
  if (inspected.type !== 'script') return undefined
  const script = scriptOf(inspected.scriptId)
  if (script.origin !== 'user') return undefined
  const site = script.syntax.findSite(inspected.line, inspected.column, sourceTextOf(fn))
  return site === undefined ? undefined : nameAround(script.syntax, site.node)
}

function nameAround(syntax: ScriptSyntax, node: Node): string | undefined {
  let inner = node
  for (let outer = syntax.parentOf(node); outer !== undefined; outer = syntax.parentOf(outer)) {
    switch (outer.type) {
      case 'VariableDeclarator':
        return outer.id.type === 'Identifier' ? outer.id.name : undefined
      case 'AssignmentExpression':
        return outer.left.type === 'Identifier' ? outer.left.name : undefined
      case 'Property':
      case 'PropertyDefinition':
        return outer.value === inner && outer.key.type === 'Identifier' && !outer.computed ? outer.key.name : undefined
      case 'CallExpression':
        // The function of a call that is its own argument elsewhere, as in list.map(x => x), has no name there.
        if (outer.arguments[0] !== inner && outer.callee !== inner) return undefined
        break
      case 'MemberExpression':
      case 'AwaitExpression':
        break
      default:
        return undefined
    }
    inner = outer
  }
  return undefined
}
