import inspector from 'node:inspector'

/**
 * Reads closures through V8's inspector, in this very process. Every request is answered before it returns. Scopes and
 * locations need no debugger; only the source text of a script does, once for each.
 */

/** Where a function was made, and the variables it can see, innermost scope first. Values are those of this moment. */
export interface InspectedFunction {
  type: 'script'
  scriptId: string
  /** From 0. */
  line: number
  column: number
  scopes: LiveVariables[]
}

/** The variables of one scope. To be read by `readVariable`: what has no value yet throws. */
export type LiveVariables = Readonly<Record<string, unknown>>

export type Inspected =
  | InspectedFunction
  | { type: 'bound'; target: unknown; self: unknown; args: unknown[] }
  | { type: 'native' }

export interface ScriptInfo {
  url: string
  sourceMapUrl: string
  isModule: boolean
}

const noInfo: ScriptInfo = { url: '', sourceMapUrl: '', isModule: false }

/** Thrown when this process has no inspector, or is not allowed to use it. */
export class InspectorUnavailableError extends Error {}

interface RemoteObject {
  objectId?: string
  value?: unknown
  unserializableValue?: string
}
interface Property {
  name: string
  value?: RemoteObject
}
interface PropertyList {
  result: Property[]
  internalProperties?: Property[]
  privateProperties?: Property[]
}
interface Location {
  scriptId: string
  lineNumber: number
  columnNumber: number
}
interface ParsedScript {
  params: { scriptId: string; url: string; sourceMapURL?: string; isModule?: boolean }
}

/** Values are handed to the inspector, and back, through a property of a module object that every context shares. */
interface Box {
  value: unknown
}
const boxName = 'shoal.inspect'
const boxExpression = `process.getBuiltinModule('node:inspector').Session[Symbol.for('${boxName}')]`

let session: inspector.Session | undefined
let box: Box
let boxId: string
/** As of the last time that the debugger was started. */
const knownScripts = new Map<string, ScriptInfo>()

function post(method: string, params: object = {}): unknown {
  let answer: unknown
  let failure: Error | undefined
  const send = session?.post.bind(session) as (
    m: string,
    p: object,
    done: (e: Error | null, r: unknown) => void,
  ) => void
  send(method, params, (error, result) => {
    if (error) failure = error
    else answer = result
  })
  if (failure !== undefined) throw new Error(`the inspector refused ${method}: ${failure.message}`, { cause: failure })
  if (answer === undefined) throw new Error(`the inspector did not answer ${method} at once`)
  return answer
}

/** Connects to the inspector, so that the first capture need not. */
function openInspector(): void {
  if (session !== undefined) return
  const opened = new inspector.Session()
  try {
    opened.connect()
  } catch (error) {
    throw new InspectorUnavailableError((error as Error).message, { cause: error })
  }
  session = opened
  const holder = inspector.Session as unknown as Record<symbol, Box | undefined>
  box = holder[Symbol.for(boxName)] ??= { value: undefined }
  const evaluated = post('Runtime.evaluate', { expression: boxExpression }) as { result: RemoteObject }
  boxId = evaluated.result.objectId as string
}

function propertiesOf(objectId: string): PropertyList {
  return post('Runtime.getProperties', { objectId, ownProperties: true }) as PropertyList
}

/** The inspector's name for a value. */
function remoteOf(value: unknown): string {
  box.value = value
  const found = propertiesOf(boxId).result.find((property) => property.name === 'value')
  return found?.value?.objectId as string
}

/** The value behind one of the inspector's names. */
function localOf(remote: RemoteObject | undefined): unknown {
  if (remote === undefined) return undefined
  if (remote.objectId === undefined) return primitiveOf(remote)
  post('Runtime.callFunctionOn', {
    objectId: remote.objectId,
    functionDeclaration: `function () { ${boxExpression}.value = this }`,
  })
  return box.value
}

function primitiveOf({ value, unserializableValue: text }: RemoteObject): unknown {
  if (text === undefined) return value
  return text.endsWith('n') ? BigInt(text.slice(0, -1)) : Number(text)
}

function release(objectIds: readonly (string | undefined)[]): void {
  for (const objectId of objectIds) if (objectId !== undefined) post('Runtime.releaseObject', { objectId })
  box.value = undefined
}

export function inspectFunction(fn: object): Inspected {
  openInspector()
  const id = remoteOf(fn)
  const { internalProperties = [] } = propertiesOf(id)
  const internal = (name: string): RemoteObject | undefined =>
    internalProperties.find((property) => property.name === name)?.value
  try {
    const target = internal('[[TargetFunction]]')
    if (target !== undefined) {
      const args = localOf(internal('[[BoundArgs]]')) as unknown[] | undefined
      return {
        type: 'bound',
        target: localOf(target),
        self: localOf(internal('[[BoundThis]]')),
        args: [...(args ?? [])],
      }
    }
    const location = internal('[[FunctionLocation]]')?.value as Location | undefined
    if (location === undefined) return { type: 'native' }
    const { scriptId, lineNumber: line, columnNumber: column } = location
    return { type: 'script', scriptId, line, column, scopes: scopesIn(localOf(internal('[[Scopes]]'))) }
  } finally {
    release([id, ...internalProperties.map((property) => property.value?.objectId)])
  }
}

function scopesIn(list: unknown): LiveVariables[] {
  const scopes: LiveVariables[] = []
  const entries = (list ?? []) as ArrayLike<{ object?: LiveVariables }>
  for (let i = 0; i < entries.length; i++) {
    const scope = entries[i]?.object
    if (scope === globalThis) break
    if (scope !== undefined) scopes.push(scope)
  }
  return scopes
}

/** The value of a variable. Undefined when the scope does not have it, or it has not been initialized yet. */
export function readVariable(scope: LiveVariables | undefined, name: string): { value: unknown } | undefined {
  if (scope === undefined || !(name in scope)) return undefined
  try {
    return { value: scope[name] }
  } catch (error) {
    if (error instanceof ReferenceError) return undefined
    throw error
  }
}

/** True when the object itself has #private fields. */
export function hasPrivateFields(value: object): boolean {
  openInspector()
  const id = remoteOf(value)
  try {
    return (propertiesOf(id).privateProperties ?? []).length > 0
  } finally {
    release([id])
  }
}

/** What V8 calls a script. With its text when that comes for free, and is likely to be needed. */
export function infoOfScript(scriptId: string): ScriptInfo & { source?: string } {
  const known = knownScripts.get(scriptId)
  if (known !== undefined) return known
  return withDebugger(() => {
    const info = knownScripts.get(scriptId) ?? noInfo
    const isForeign = info.url.startsWith('node:') || info.url.includes('/node_modules/')
    return isForeign ? info : { ...info, source: readSource(scriptId) }
  })
}

/** The text of a script as it was executed. */
export function sourceOfScript(scriptId: string): string {
  return withDebugger(() => readSource(scriptId))
}

function readSource(scriptId: string): string {
  const { scriptSource } = post('Debugger.getScriptSource', { scriptId }) as { scriptSource: string }
  return scriptSource
}

/** Starts the debugger and ends it: the first time takes long. */
export function warmUpDebugger(): void {
  openInspector()
  withDebugger(() => undefined)
}

/** When it starts, the debugger lists every script there is: all that is not the user's is only known by that. */
function withDebugger<T>(run: () => T): T {
  openInspector()
  const opened = session as inspector.Session
  knownScripts.clear()
  opened.on('Debugger.scriptParsed', onScriptParsed)
  post('Debugger.enable', { maxScriptsCacheSize: 0 })
  try {
    return run()
  } finally {
    opened.off('Debugger.scriptParsed', onScriptParsed)
    post('Debugger.disable')
  }
}

function onScriptParsed({ params }: ParsedScript): void {
  const { scriptId, url, sourceMapURL: sourceMapUrl = '', isModule = false } = params
  knownScripts.set(scriptId, { url, sourceMapUrl, isModule })
}
