import type { Reference, Scope, Variable } from './script-syntax.ts'
import { isFunctionNode } from './syntax.ts'

/**
 * Gives the parameters of a function a scope of their own where V8 does: unless all are plain names, as in `(a, b)`,
 * the variables of the body are kept apart from them, even one that has the name of a parameter.
 */
export function splitParameters(scopes: Iterable<Scope>): void {
  for (const scope of scopes) {
    const { block } = scope
    if (scope.type !== 'function' || !isFunctionNode(block)) continue
    if (block.params.some((parameter) => parameter.type !== 'Identifier')) splitScope(scope, block.body.start)
  }
}

function splitScope(scope: Scope, bodyStart: number): void {
  const { block, variableScope } = scope
  const parameters: Scope = {
    type: 'parameters',
    block,
    variables: [],
    set: new Map(),
    references: [],
    childScopes: [],
    variableScope,
  }
  for (const variable of scope.variables) {
    const isParameter = variable.defs.some(({ type }) => type === 'Parameter')
    if (isParameter) addParameter(parameters, splitVariable(variable, bodyStart) ?? variable)
  }
  scope.variables = scope.variables.filter((variable) => variable.scope === scope)
  for (const name of parameters.set.keys()) {
    if (scope.set.get(name)?.scope === parameters) scope.set.delete(name)
  }
}

function addParameter(parameters: Scope, variable: Variable): void {
  variable.scope = parameters
  parameters.variables.push(variable)
  parameters.set.set(variable.name, variable)
}

/** The parameter that a variable of the body hides. Undefined when there is no such variable. */
function splitVariable(variable: Variable, bodyStart: number): Variable | undefined {
  const inBody = variable.defs.filter(({ type }) => type !== 'Parameter')
  if (inBody.length === 0) return undefined
  const isOfParameters = ({ identifier }: Reference): boolean => identifier.start < bodyStart
  const hidden: Variable = {
    ...variable,
    defs: variable.defs.filter(({ type }) => type === 'Parameter'),
    references: variable.references.filter(isOfParameters),
  }
  for (const reference of hidden.references) reference.resolved = hidden
  variable.defs = inBody
  variable.references = variable.references.filter((reference) => !isOfParameters(reference))
  return hidden
}
