export { plural } from '../../protocols/plural.ts'

/** Names and whatever else comes from other machines: without what could steer the terminal. */
export function clean(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?')
}
