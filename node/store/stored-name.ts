const namePattern = /^[0-9a-f]{16,64}$/

/** True for what may be the name of a stored value, and so of a file in the store's folder. */
export function isStoredName(name: string): boolean {
  return namePattern.test(name)
}
