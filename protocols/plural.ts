/** @example plural(2, 'node') // '2 nodes' */
export function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
