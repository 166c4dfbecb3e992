/**
 * Where values over 100 KiB lie on this machine, readable by every process of the node. This is all that the SDK knows
 * of the store, so that files can give way to shared memory.
 *
 * @example
 * store.write('00ff00ff00ff00ff', flattenValue(encoded))
 * const bytes = await store.read('00ff00ff00ff00ff', 1024)
 */
export interface ObjectStore {
  /**
   * Stores the parts, one after the other, under a new name, and copies them before it returns. A name is written once.
   *
   * Throws ObjectStoreFullError when there is no room; nothing of the value stays behind then.
   */
  write(name: string, parts: readonly Uint8Array[]): void
  /**
   * The bytes of a value, for the caller alone: writing to them changes nobody else's. Large ones may be shared with others
   * until they are written to.
   *
   * Rejects with ObjectLostError when there is no such value, or when it is not `bytes` long.
   */
  read(name: string, bytes: number): Promise<Uint8Array>
  /** Drops a value. Dropping one that is not there does nothing. */
  delete(name: string): void
}
