import type { AnyClass } from './any-function.ts'
import { registerClass, registeredClass, registeredClassId, setClassFinder } from './class-registry.ts'
import { inspectFunction, readVariable } from './inspect.ts'
import type { Script } from './script.ts'
import type { Site } from './script-syntax.ts'

/** The id of a class of the top level. */
export function rootClassId(script: Script, name: string): string {
  return `${script.url}#${name}`
}

/** The id of a class: the one it has, or one made of its file and its name or place in it. */
export function assignClassId(cls: AnyClass, script: Script, site: Site): string {
  const known = registeredClassId(cls)
  if (known !== undefined) return known
  const base = placeOf(script, site)
  let id = base
  // One `class` expression makes many classes when the function around it is called many times.
  for (let n = 2; registeredClass(id) !== undefined; n++) id = `${base}~${n}`
  registerClass(id, cls)
  return id
}

function placeOf(script: Script, site: Site): string {
  const { syntax } = script
  const name = syntax.rootNameOf(site.node) ?? syntax.exportNameOf(site.node)
  if (name !== undefined) return rootClassId(script, name)
  const { source, line, column } = script.originalPosition(site.start)
  return `${source}:${line}:${column}`
}

/** For each module, a function of it: through that, classes can be found that were never met by themselves. */
const witnesses = new Map<string, WeakRef<object>>()
const witnessesMax = 2000

export function addWitness(script: Script, fn: object): void {
  if (witnesses.get(script.url)?.deref() !== undefined || witnesses.size >= witnessesMax) return
  witnesses.set(script.url, new WeakRef(fn))
}

/** Lets `classById` find top-level classes of modules that shipped functions have used. */
export function installClassFinder(): void {
  setClassFinder((id) => {
    const hash = id.lastIndexOf('#')
    const witness = witnesses.get(id.slice(0, hash))?.deref()
    if (hash < 0 || witness === undefined) return undefined
    const inspected = inspectFunction(witness)
    if (inspected.type !== 'script') return undefined
    const name = id.slice(hash + 1)
    const holder = inspected.scopes.findLast((scope) => name in scope)
    const found = readVariable(holder, name)?.value
    if (typeof found !== 'function') return undefined
    registerClass(id, found as unknown as AnyClass)
    return found as unknown as AnyClass
  })
}
