import type { ClientId } from '../../protocols/ids.ts'
import type { AllocateEvent } from './store-events.ts'
import type { StoredEntry } from './stored-value.ts'

/** The values of the store: those that are needed, by name and by owner, and those that only somebody's use of them keeps. */
export class StoredValues {
  readonly #entries = new Map<string, StoredEntry>()
  readonly #byOwner = new Map<ClientId, Set<StoredEntry>>()
  /** Freed or dropped, and still in use by the node, by the disk, or by who writes them. */
  readonly #lingering = new Set<StoredEntry>()

  /** Those that are needed. */
  get byName(): ReadonlyMap<string, StoredEntry> {
    return this.#entries
  }

  get(name: string): StoredEntry | undefined {
    return this.#entries.get(name)
  }

  /** A value that is about to be written. */
  add({ key, name, bytes, writer, owner, kind }: AllocateEvent, nowMs: number): StoredEntry {
    const entry: StoredEntry = {
      name,
      bytes,
      kind,
      writer,
      key,
      owner,
      object: '',
      isSealed: false,
      isBeingWritten: true,
      memory: undefined,
      disk: undefined,
      isMoving: false,
      holds: 0,
      isFreed: false,
      touchedMs: nowMs,
      openedMs: -Infinity,
      sinceMs: nowMs,
    }
    this.#entries.set(name, entry)
    const owned = this.#byOwner.get(owner)
    if (owned === undefined) this.#byOwner.set(owner, new Set([entry]))
    else owned.add(entry)
    return entry
  }

  /** It is needed no more; it stays on the list of those in use until `end`. */
  linger(entry: StoredEntry): void {
    entry.isFreed = true
    this.#entries.delete(entry.name)
    const owned = this.#byOwner.get(entry.owner)
    owned?.delete(entry)
    if (owned?.size === 0) this.#byOwner.delete(entry.owner)
    this.#lingering.add(entry)
  }

  end(entry: StoredEntry): void {
    this.#lingering.delete(entry)
  }

  /** Values that are needed by these owners only. */
  ofOwners(isOne: (owner: ClientId) => boolean): StoredEntry[] {
    return [...this.#byOwner].flatMap(([owner, entries]) => (isOne(owner) ? [...entries] : []))
  }

  /** What a client may be writing at this moment, needed or not. */
  writtenBy(writer: ClientId): StoredEntry[] {
    const isIt = (entry: StoredEntry): boolean => entry.isBeingWritten && entry.writer === writer
    return [...this.#entries.values().filter(isIt), ...this.#lingering.values().filter(isIt)]
  }

  /** The value that was given room by the request with this key (any, if undefined), if it is still being written. */
  written(name: string, key: number | undefined): StoredEntry | undefined {
    return this.#find(name, (entry) => entry.isBeingWritten && (key === undefined || entry.key === key))
  }

  /** The value of that name that is being written to the disk, or read from it. */
  moving(name: string): StoredEntry | undefined {
    return this.#find(name, (entry) => entry.isMoving)
  }

  #find(name: string, isIt: (entry: StoredEntry) => boolean): StoredEntry | undefined {
    const entry = this.#entries.get(name)
    if (entry !== undefined && isIt(entry)) return entry
    return this.#lingering.values().find((each) => each.name === name && isIt(each))
  }
}
