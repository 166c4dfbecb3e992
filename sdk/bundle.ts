import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * A node starts its workers from one file that holds all modules of the SDK. Whoever imports such a module by its own file
 * gets the one that is in there: a process has one SDK.
 */
interface Bundle {
  readonly url: string
  /** By the URLs of their own files. */
  readonly modules: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

const bundleKey = 'shoal.bundle'

/** Frames of the one file, and what they are in the modules. There are no more than the code has calls. */
const knownPlaces = new Map<string, string>()

function ownBundle(): Bundle | undefined {
  return (globalThis as { [key: symbol]: unknown })[Symbol.for(bundleKey)] as Bundle | undefined
}

/** True for the URL of the file that this process was started from, when it is that of all modules. */
export function isBundleUrl(url: string): boolean {
  return ownBundle()?.url === url
}

/** What the module of that URL is to be loaded as, when this process has it already. */
export function bundledSource(url: string): string | undefined {
  const module = ownBundle()?.modules[url]
  if (module === undefined) return undefined
  const names = Object.keys(module).join(', ')
  return `export const { ${names} } = globalThis[Symbol.for('${bundleKey}')].modules[${JSON.stringify(url)}]`
}

/** The module and the name that something is exported by; undefined when it is not, or this process has no such file. */
export function bundledExport(value: unknown): { file: string; name: string } | undefined {
  for (const [url, module] of Object.entries(ownBundle()?.modules ?? {})) {
    const name = Object.keys(module).find((each) => module[each] === value)
    if (name !== undefined) return { file: fileURLToPath(url), name }
  }
  return undefined
}

/** A stack in which frames of the one file name the modules that they are in. */
export function withModuleFrames(stack: string): string {
  const url = ownBundle()?.url
  if (url === undefined || !stack.includes(url)) return stack
  return stack.replaceAll(/(file:[^\s()]*):(\d+):(\d+)/g, (frame, file: string, line: string, column: string) => {
    if (file !== url) return frame
    let place = knownPlaces.get(frame)
    if (place === undefined) knownPlaces.set(frame, (place = placeIn(url, Number(line), Number(column)) ?? frame))
    return place
  })
}

/** Where a place in the one file comes from; undefined when that cannot be said. Line and column are from 1. */
function placeIn(url: string, line: number, column: number): string | undefined {
  try {
    const lines = readFileSync(fileURLToPath(`${url}.places`), 'utf8').split('\n')
    const parts = JSON.parse(lines[line] ?? '[]') as number[]
    // The last that begins no later: four numbers each.
    let at = 0
    while ((parts[at + 4] ?? column) < column) at += 4
    const [, module, itsLine, itsColumn] = parts.slice(at, at + 4)
    if (module === undefined || itsLine === undefined || itsColumn === undefined) return undefined
    return `${(JSON.parse(lines[0] ?? '[]') as string[])[module]}:${itsLine}:${itsColumn + 1}`
  } catch {
    // The frame is not the user's: without its place it is only harder to read.
    return undefined
  }
}
