import { clip, shownNameBytesMax } from '../../protocols/clip.ts'

/** What a function or class is called for people. A class may have something else than a text under `name`. */
export function shownName(fn: { readonly name: unknown }): string {
  const { name } = fn
  return typeof name === 'string' && name !== '' ? clip(name, shownNameBytesMax) : 'anonymous'
}
