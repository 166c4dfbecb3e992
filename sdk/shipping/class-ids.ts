import { randomBytes } from 'node:crypto'
import { isClass, sourceTextOf, type AnyClass } from './any-function.ts'
import { registerClass, registeredClass, registeredClassId, setClassFinder } from './class-registry.ts'
import { loadedFileByUrl } from './code-files.ts'
import { commonJsExport, commonJsPathOf } from './common-js.ts'
import { originOfFunction } from './copyability.ts'
import { inspectFunction, readVariable } from './inspect.ts'
import type { Script } from './script.ts'
import type { Site } from './script-syntax.ts'

/** What tells the classes of this process from those of others. */
const processTag = randomBytes(12).toString('base64url')
let uniqueCount = 0

/** The id of a class of the top level. */
export function rootClassId(script: Script, name: string): string {
  return `${script.url}#${name}`
}

/**
 * The id of a class. What a module makes once has one of its file and its name or place there, the same in every process
 * that has the module. Any other class has an id that no other class has, here or elsewhere: the variables of the
 * functions around it are its own.
 */
export function assignClassId(cls: AnyClass, script: Script, site: Site): string {
  const known = registeredClassId(cls)
  if (known !== undefined) return known
  const id = placeOf(cls, script, site) ?? uniqueId(script, site)
  registerClass(id, cls)
  return id
}

function placeOf(cls: AnyClass, script: Script, site: Site): string | undefined {
  const { syntax } = script
  const isOfModule = script.file !== undefined && syntax.isMadeOnce(site.node)
  if (!isOfModule) return undefined
  const path = commonJsPathOf(cls, script)
  const name = path ? ['exports', ...path].join('.') : (syntax.rootNameOf(site.node) ?? syntax.exportNameOf(site.node))
  const place = name === undefined ? positionOf(script, site) : rootClassId(script, name)
  // Parts of a driver's module that came with several functions are one module. Other files were loaded twice.
  const isPart = script.isUnit || loadedFileByUrl(script.url) !== undefined
  return isPart || registeredClass(place) === undefined ? place : undefined
}

function uniqueId(script: Script, site: Site): string {
  return `${positionOf(script, site)}~${processTag}.${++uniqueCount}`
}

function positionOf(script: Script, site: Site): string {
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
    if (hash < 0) return undefined
    const [url, name] = [id.slice(0, hash), id.slice(hash + 1)]
    const exported = /^exports(?:\.(.+))?$/.exec(name)
    const found =
      exported === null ? rootOf(url, name) : commonJsExport(url, exported[1] === undefined ? [] : [exported[1]])
    // The variable may hold another class by now.
    return isClass(found) && classId(found) === id ? found : undefined
  })
}

/** What a top-level variable holds now. */
function rootOf(url: string, name: string): unknown {
  const witness = witnesses.get(url)?.deref()
  const inspected = witness && inspectFunction(witness)
  if (inspected?.type !== 'script') return undefined
  const holder = inspected.scopes.findLast((scope) => name in scope)
  return readVariable(holder, name)?.value
}

/** What a user's class is called in every process. Undefined for classes of packages, and for built-in ones. */
export function classId(cls: AnyClass | Function): string | undefined {
  const known = registeredClassId(cls as AnyClass)
  if (known !== undefined || !isClass(cls)) return known
  const found = siteOf(cls)
  return found === undefined ? undefined : assignClassId(cls, found.script, found.site)
}

function siteOf(cls: AnyClass): { script: Script; site: Site } | undefined {
  const { inspected, script } = originOfFunction(cls)
  if (inspected.type !== 'script' || script?.origin !== 'user') return undefined
  const site = script.syntax.findSite(inspected.line, inspected.column, sourceTextOf(cls))
  return site === undefined ? undefined : { script, site }
}
