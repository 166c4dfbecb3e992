import { after, before } from 'node:test'
import { init, shutdown, type InitOptions } from '../../sdk/index.ts'
import { freshRuntimeDirectory } from './runtime-directory.ts'

/** Attaches the tests of a file to a node of their own, started once. */
export function attachToNode(options: InitOptions): void {
  let removeDirectory: () => void
  before(async () => {
    removeDirectory = freshRuntimeDirectory()
    await init({ embedded: true, logToDriver: false, ...options })
  })
  after(async () => {
    await shutdown()
    removeDirectory()
  })
}
