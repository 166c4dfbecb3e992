import { checkAdminArgs, type AdminCallName, type AdminValue } from '../../protocols/admin.ts'
import type { NodeId, ObjectId } from '../../protocols/ids.ts'
import type { GroupDesk } from '../groups/group-desk.ts'
import type { ClientQuestions } from '../server/client-questions.ts'
import { memoryReport } from '../store/memory-report.ts'
import { objectReports } from '../store/object-reports.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { PinTables } from '../store/pin-tables.ts'
import type { AdminCallee } from './admin-desk.ts'

const localCalls = ['objects', 'memory', 'placementGroups'] as const satisfies readonly AdminCallName[]
export type LocalCallName = (typeof localCalls)[number]

/** True for what a node can answer by itself, be it in a mesh or not. */
export function isLocalCall(name: string): name is LocalCallName {
  return localCalls.some((each) => each === name)
}

/** What a node answers by itself when it is in no mesh: the others know no more then. */
export function isLoneCall(name: string): boolean {
  return name === 'objectLocate'
}

export interface LocalAdminParts {
  self: { readonly node: NodeId; readonly name: string }
  store: ObjectStore
  pinTables: PinTables
  references: ClientQuestions<'referencesAsk'>
  groups: Pick<GroupDesk, 'reports'>
  now(): number
}

/** What the command line and programs can ask of this node about itself. */
export class LocalAdmin implements AdminCallee {
  readonly #parts: LocalAdminParts

  constructor(parts: LocalAdminParts) {
    this.#parts = parts
  }

  async call(name: LocalCallName | 'objectLocate', args: unknown): Promise<AdminValue<typeof name>> {
    if (name === 'objectLocate') return this.#locate(checkAdminArgs(name, args).id)
    checkAdminArgs(name, args)
    switch (name) {
      case 'objects':
        return this.#objects()
      case 'memory':
        return this.#memory()
      case 'placementGroups':
        return this.#parts.groups.reports()
    }
  }

  #objects(): AdminValue<'objects'> {
    const { store, pinTables, now } = this.#parts
    return objectReports(store, pinTables, now())
  }

  #locate(id: ObjectId): AdminValue<'objectLocate'> {
    const { store, self, now } = this.#parts
    const beganMs = now()
    const isHere = store.book.entries.values().some(({ object, isSealed }) => isSealed && object === id)
    return { holders: isHere ? [self] : [], ms: now() - beganMs }
  }

  async #memory(): Promise<AdminValue<'memory'>> {
    const answers = await this.#parts.references.ask()
    return memoryReport(this.#objects(), answers)
  }
}
