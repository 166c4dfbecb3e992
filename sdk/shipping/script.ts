import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import {
  decodedMappings,
  GREATEST_LOWER_BOUND,
  LEAST_UPPER_BOUND,
  originalPositionFor,
  TraceMap,
} from '@jridgewell/trace-mapping'
import { isBundleUrl } from '../bundle.ts'
import { isUnitUrl, loadedFileByUrl } from './code-files.ts'
import { infoOfScript, sourceOfScript } from './inspect.ts'
import { ScriptSyntax } from './script-syntax.ts'
import { sdkPathOf } from './sdk-files.ts'

/** Whose code a script is. Only the user's is ever read; the rest is referred to. */
export type ScriptOrigin = 'builtin' | 'package' | 'sdk' | 'user'

export interface Position {
  /** From 0. */
  line: number
  column: number
}

/** One script as V8 executed it: after type stripping or compilation, so that positions agree with the inspector's. */
export class Script {
  /** What V8 calls it. */
  readonly url: string
  /** Its file, when it has one. */
  readonly file: string | undefined
  readonly origin: ScriptOrigin
  readonly isModule: boolean
  /** True for code that was made here from parts of a driver's script. */
  readonly isUnit: boolean
  readonly #id: string
  readonly #sourceMapUrl: string
  #source: string | undefined
  #syntax: ScriptSyntax | undefined
  #map: TraceMap | undefined
  #hasMap: boolean | undefined

  constructor(scriptId: string) {
    this.#id = scriptId
    const { url, sourceMapUrl, isModule, source } = infoOfScript(scriptId)
    this.#source = source
    const clean = url.replace(/[?#].*$/, '')
    this.file = clean.startsWith('file:') ? fileURLToPath(clean) : path.isAbsolute(clean) ? clean : undefined
    this.url = this.file === undefined ? url : pathToFileURL(this.file).href
    this.isModule = isModule
    this.isUnit = isUnitUrl(this.url)
    this.#sourceMapUrl = sourceMapUrl
    this.origin = this.isUnit ? 'user' : originOf(url, this.url, this.file)
  }

  get source(): string {
    this.#source ??= sourceOfScript(this.#id)
    return this.#source
  }

  get syntax(): ScriptSyntax {
    this.#syntax ??= new ScriptSyntax(this.source, this.isModule, this.isUnit)
    return this.#syntax
  }

  /** The folder that its relative imports start from. */
  get directory(): string {
    return this.file === undefined ? process.cwd() : path.dirname(this.file)
  }

  /** The installed package it belongs to. */
  get packageName(): string | undefined {
    return packageNameOf(this.file ?? '')
  }

  /** The source map to what the user wrote. */
  get map(): TraceMap | undefined {
    if (this.#hasMap === undefined) {
      this.#map = readMap(this.#sourceMapUrl, this.directory, this.url)
      this.#hasMap = this.#map !== undefined
    }
    return this.#map
  }

  /** Where the user wrote it, such as `driver.ts:12:20`. */
  where(offset: number): string {
    const { source, line, column } = this.originalPosition(offset)
    const name = source.startsWith('file:') ? relativeToHere(fileURLToPath(source)) : source
    return `${name}:${line}:${column}`
  }

  /** Where the user wrote it: file URL, and line and column from 1. */
  originalPosition(offset: number): { source: string; line: number; column: number } {
    const { line, column } = this.syntax.position(offset)
    if (this.map !== undefined) {
      for (const bias of [GREATEST_LOWER_BOUND, LEAST_UPPER_BOUND] as const) {
        const found = originalPositionFor(this.map, { line: line + 1, column, bias })
        if (found.source !== null) return { source: found.source, line: found.line, column: found.column + 1 }
      }
    }
    return { source: this.url, line: line + 1, column: column + 1 }
  }

  /** The mapped positions of one line: column here, then file, line and column in the original. */
  mappingsOfLine(line: number): readonly { column: number; source: string; line: number; sourceColumn: number }[] {
    const { map } = this
    if (map === undefined) return []
    return (decodedMappings(map)[line] ?? []).flatMap((segment) => {
      if (segment.length === 1) return []
      const source = map.resolvedSources[segment[1]]
      return source ? [{ column: segment[0], source, line: segment[2], sourceColumn: segment[3] }] : []
    })
  }
}

/** Parsed scripts by V8's id. The oldest are dropped when a program makes scripts without end. */
const scripts = new Map<string, Script>()
const scriptsMax = 2000

export function scriptOf(scriptId: string): Script {
  let script = scripts.get(scriptId)
  if (script === undefined) {
    script = new Script(scriptId)
    if (scripts.size >= scriptsMax) for (const [oldest] of scripts.entries().take(1)) scripts.delete(oldest)
    scripts.set(scriptId, script)
  }
  return script
}

function originOf(rawUrl: string, url: string, file: string | undefined): ScriptOrigin {
  if (rawUrl.startsWith('node:')) return 'builtin'
  if (file === undefined) return 'user'
  const loaded = loadedFileByUrl(url)
  if (loaded !== undefined) return loaded.url === undefined ? 'package' : 'user'
  if (sdkPathOf(file) !== undefined || isBundleUrl(url)) return 'sdk'
  return packageNameOf(file) === undefined ? 'user' : 'package'
}

export function packageNameOf(file: string): string | undefined {
  return /.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(file)?.[1]?.replace('\\', '/')
}

/** A path as short as it can be said from here. */
export function relativeToHere(file: string): string {
  const relative = path.relative(process.cwd(), file)
  return relative === '' || relative.startsWith(`..${path.sep}..`) ? file : relative
}

function readMap(mapUrl: string, directory: string, url: string): TraceMap | undefined {
  if (mapUrl === '') return undefined
  try {
    return new TraceMap(mapText(mapUrl, directory), url)
  } catch {
    // A map that is missing or broken costs the user's line numbers, nothing else.
    return undefined
  }
}

function mapText(mapUrl: string, directory: string): string {
  if (!mapUrl.startsWith('data:')) return readFileSync(path.resolve(directory, decodeURI(mapUrl)), 'utf8')
  const comma = mapUrl.indexOf(',')
  const isBase64 = mapUrl.slice(0, comma).endsWith(';base64')
  const data = mapUrl.slice(comma + 1)
  return isBase64 ? Buffer.from(data, 'base64').toString() : decodeURIComponent(data)
}
