import './loopback.ts'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/**
 * Points this process, and those that it starts, to a runtime folder of their own, so that no test meets a node that runs
 * on this machine. Returns what puts everything back.
 */
export function freshRuntimeDirectory(): () => void {
  const before = process.env['SHOAL_RUNTIME_DIR']
  const directory = mkdtempSync(path.join(tmpdir(), 'shoal-test-'))
  process.env['SHOAL_RUNTIME_DIR'] = directory
  return () => {
    if (before === undefined) delete process.env['SHOAL_RUNTIME_DIR']
    else process.env['SHOAL_RUNTIME_DIR'] = before
    rmSync(directory, { recursive: true, force: true })
  }
}
