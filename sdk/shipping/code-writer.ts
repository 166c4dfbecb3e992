import { GenMapping, maybeAddSegment, toEncodedMap } from '@jridgewell/gen-mapping'
import type { Script } from './script.ts'

/** A replacement of a piece of the script's text. */
export interface Edit {
  start: number
  end: number
  text: string
  /** True when what is replaced is called. */
  isCalled?: boolean
}

/** Puts a module together from new text and pieces of a script, and keeps the source map to what the user wrote. */
export class CodeWriter {
  readonly #script: Script
  readonly #map = new GenMapping({ file: 'unit.mjs' })
  readonly #parts: string[] = []
  #line = 0
  #column = 0

  constructor(script: Script) {
    this.#script = script
  }

  /** New text, which is not the user's. */
  write(text: string): void {
    this.#parts.push(text)
    const lastBreak = text.lastIndexOf('\n')
    if (lastBreak < 0) {
      this.#column += text.length
      return
    }
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#line++
    this.#column = text.length - lastBreak - 1
  }

  /** A piece of the script, with some of it replaced. Edits are in the order of the text. */
  copy(start: number, end: number, edits: readonly Edit[]): void {
    let at = start
    for (const edit of edits) {
      if (edit.start < at) continue
      this.#copy(at, edit.start)
      this.#mark(edit.start)
      this.write(edit.text)
      at = edit.end
      if (edit.isCalled !== true || this.#script.source[at] !== '(') continue
      // V8 says that a call of an expression in parentheses is where its arguments begin.
      this.#mark(edit.start)
      this.write('(')
      at++
    }
    this.#copy(at, end)
  }

  #copy(start: number, end: number): void {
    if (start >= end) return
    const text = this.#script.source.slice(start, end)
    if (this.#script.map === undefined) this.#mapTokens(text, start)
    else this.#mapThrough(start, end)
    this.write(text)
  }

  #mark(offset: number): void {
    if (this.#script.map !== undefined) return
    const { line, column } = this.#script.syntax.position(offset)
    maybeAddSegment(this.#map, this.#line, this.#column, this.#script.url, line, column)
  }

  /** The script is what the user wrote: every word is mapped. */
  #mapTokens(text: string, start: number): void {
    const { syntax, url } = this.#script
    let { line: sourceLine, column: sourceColumn } = syntax.position(start)
    let line = this.#line
    let column = this.#column
    for (const piece of text.match(/\n|[\p{L}\d_$]+|[^\n\p{L}\d_$]+/gu) ?? []) {
      if (piece === '\n') {
        line++
        sourceLine++
        column = sourceColumn = 0
        continue
      }
      maybeAddSegment(this.#map, line, column, url, sourceLine, sourceColumn)
      column += piece.length
      sourceColumn += piece.length
    }
  }

  /** The script was compiled: its own map is followed to what the user wrote. */
  #mapThrough(start: number, end: number): void {
    const { syntax } = this.#script
    const from = syntax.position(start)
    const to = syntax.position(end)
    for (let line = from.line; line <= to.line; line++) {
      for (const mapping of this.#script.mappingsOfLine(line)) {
        if (line === from.line && mapping.column < from.column) continue
        if (line === to.line && mapping.column >= to.column) continue
        const column = line === from.line ? this.#column + mapping.column - from.column : mapping.column
        maybeAddSegment(
          this.#map,
          this.#line + line - from.line,
          column,
          mapping.source,
          mapping.line,
          mapping.sourceColumn,
        )
      }
    }
  }

  /** The text with its source map at the end. */
  finish(): string {
    const { sourcesContent: _, ...map } = toEncodedMap(this.#map)
    return withSourceMap(this.#parts.join(''), JSON.stringify(map))
  }
}

export function withSourceMap(code: string, map: string): string {
  const encoded = Buffer.from(map).toString('base64')
  return `${code.trimEnd()}\n//# sourceMappingURL=data:application/json;base64,${encoded}\n`
}
