/** As many of the first items as fit into so many bytes as JSON. */
export function withinBytes<T>(items: readonly T[], bytesMax: number): readonly T[] {
  let bytes = 2
  const count = items.findIndex((item) => {
    bytes += jsonBytes(item) + 1
    return bytes > bytesMax
  })
  return count === -1 ? items : items.slice(0, count)
}

/** What a value takes in a message, as JSON. */
export function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value) ?? '')
}
