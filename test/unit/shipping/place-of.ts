import { readFileSync } from 'node:fs'

/** Where a piece of text is in a file: `line:column`, from 1. */
export function placeOf(file: string | URL, text: string): string {
  const before = readFileSync(file, 'utf8').split(text, 1)[0] ?? ''
  const lines = before.split('\n')
  return `${lines.length}:${(lines.at(-1)?.length ?? 0) + 1}`
}
