/** A name for people, of a function or a class, is kept in so many bytes. */
export const shownNameBytesMax = 256

const ellipsis = '…'
const ellipsisBytes = 3

/**
 * A text that people read, in at most so many bytes of UTF-8: what is over that is cut off between two characters, and
 * `…` says so.
 *
 * @example
 * clip('übermäßig', 8) // 'über…'
 */
export function clip(text: string, bytesMax: number): string {
  // Three bytes per UTF-16 unit is the most that UTF-8 takes.
  if (text.length * 3 <= bytesMax || Buffer.byteLength(text) <= bytesMax) return text
  const bytes = Buffer.from(text.slice(0, bytesMax))
  let end = Math.max(0, bytesMax - ellipsisBytes)
  while (end > 0 && isInsideCharacter(bytes[end])) end--
  return bytes.toString('utf8', 0, end) + ellipsis
}

/** The first and the last of many, with `…` for those between. */
export function clipList(all: readonly string[], firstMax = 16, lastMax = 8): readonly string[] {
  if (all.length <= firstMax + lastMax) return all
  return [...all.slice(0, firstMax), ellipsis, ...all.slice(-lastMax)]
}

function isInsideCharacter(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0b1100_0000) === 0b1000_0000
}
