import { checkAdminArgs, type AdminCallName, type AdminValue } from '../../protocols/admin.ts'
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

export interface LocalAdminParts {
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

  call(name: LocalCallName, args: unknown): Promise<AdminValue<LocalCallName>> {
    checkAdminArgs(name, args)
    switch (name) {
      case 'objects':
        return Promise.resolve(this.#objects())
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

  async #memory(): Promise<AdminValue<'memory'>> {
    const answers = await this.#parts.references.ask()
    return memoryReport(this.#objects(), answers)
  }
}
