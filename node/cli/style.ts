import { stripVTControlCharacters, styleText } from 'node:util'

export type Style = Parameters<typeof styleText>[0]

/** Colours only where somebody sees them. */
export function styled(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout })
}

/** How wide the text is on a terminal, colours not counted. */
export function widthOf(text: string): number {
  return stripVTControlCharacters(text).length
}
