import type { PrivateMapping } from '../system/linux-memory.ts'

const countMax = 16

/**
 * Mappings of views that were released, for the next view on the same part of the store: to make one takes longer. Those that
 * were put here first go first.
 */
export class SpareMappings {
  readonly #bytesMax: number
  readonly #mappings = new Map<string, PrivateMapping>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get count(): number {
    return this.#mappings.size
  }

  take(part: string): PrivateMapping | undefined {
    const mapping = this.#mappings.get(part)
    if (mapping === undefined) return undefined
    this.#mappings.delete(part)
    this.#bytes -= mapping.bytes
    return mapping
  }

  /** Takes a mapping that has nothing of its own. */
  put(part: string, mapping: PrivateMapping): void {
    this.take(part)?.unmap()
    this.#mappings.set(part, mapping)
    this.#bytes += mapping.bytes
    for (const oldest of this.#mappings.keys()) {
      if (this.#mappings.size <= countMax && this.#bytes <= this.#bytesMax) return
      this.take(oldest)?.unmap()
    }
  }

  clear(): void {
    for (const part of this.#mappings.keys()) this.take(part)?.unmap()
  }
}
