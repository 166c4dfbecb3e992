import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { pathToFileURL } from 'node:url'
import { bundledSource, isBundleUrl } from '../bundle.ts'
import { isClass } from './any-function.ts'
import { registerClass } from './class-registry.ts'
import { addLoadedExports, loadedFile, loadedFileByUrl } from './code-files.ts'

/** What shipped code imports bundled code by: `shoal:` and a key. */
const codeScheme = 'shoal:'
/** Modules inside the SDK. */
const sdkScheme = 'shoal-sdk:'

/** Bundled files of the user tell their classes through this. */
const classesHook = Symbol.for('shoal.classes')
/** And those that are CommonJS what they export. */
const exportsHook = Symbol.for('shoal.exports')

let currentSdkUrl: string | undefined

/**
 * Makes the module loader of this process resolve the imports of shipped code: to bundled files, to the worker's SDK, of
 * which there is one.
 * A user's own file is loaded under the URL that it has at the driver, so that it has one instance, and
 * `import.meta.url` and stack traces name it.
 */
export function installCodeHooks(sdkUrl: string): void {
  const isInstalled = currentSdkUrl !== undefined
  currentSdkUrl = sdkUrl
  if (isInstalled) return
  Object.assign(globalThis, { [classesHook]: registerClasses, [exportsHook]: addLoadedExports })
  registerHooks({
    resolve(specifier, context, nextResolve) {
      if (specifier.startsWith(codeScheme)) {
        const file = loadedFile(specifier)
        if (file === undefined) throw new Error(`shipped code imports ${specifier}, which was not sent along`)
        return { url: file.moduleUrl, format: 'module', shortCircuit: true }
      }
      if (specifier.startsWith(sdkScheme)) {
        return nextResolve(sdkModuleUrl(specifier.slice(sdkScheme.length)), context)
      }
      const { parentURL } = context
      if (parentURL === undefined || !isBundleUrl(parentURL)) return nextResolve(specifier, context)
      return nextResolve(specifier, { ...context, parentURL: sdkModuleUrl('') })
    },
    load(url, context, nextLoad) {
      const file = loadedFileByUrl(url)
      const source = file?.url === undefined ? bundledSource(url) : readFileSync(file.path, 'utf8')
      return source === undefined ? nextLoad(url, context) : { format: 'module', source, shortCircuit: true }
    },
  })
}

/** The URL of a module of the worker's SDK; the empty path is its main module. */
export function sdkModuleUrl(path: string): string {
  const sdkUrl = currentSdkUrl ?? import.meta.url
  return path === '' ? sdkUrl : new URL(path, sdkUrl).href
}

/** Where a bundled file is imported from. */
export function moduleUrlOf(file: { url?: string }, path: string): string {
  return file.url ?? pathToFileURL(path).href
}

function registerClasses(url: string, classes: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(classes)) if (isClass(value)) registerClass(`${url}#${name}`, value)
}
