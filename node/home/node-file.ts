import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** What a running node leaves in its runtime folder about itself: for the next start, and for people. */
export interface NodeFile {
  pid: number
  /** Names this very start. */
  token: string
  version: string
  startedAt: string
  socketPath: string
  /** Of values in files, and of values on the disk; '' when there is none. */
  storeDirectory: string
  spillDirectory: string
  codeDirectory: string
  guardianPid: number
}

export function nodeFilePath(runtimeDirectory: string): string {
  return path.join(runtimeDirectory, 'node.json')
}

export function writeNodeFile(runtimeDirectory: string, content: NodeFile): void {
  const file = nodeFilePath(runtimeDirectory)
  const temporary = `${file}.${content.pid}`
  // One line: the guardian's shell reads it with `read`.
  writeFileSync(temporary, `${JSON.stringify(content)}\n`, { mode: 0o600 })
  renameSync(temporary, file)
}

/** What a node, alive or dead, has left; undefined when there is nothing that can be read. */
export function readNodeFile(runtimeDirectory: string): NodeFile | undefined {
  try {
    const content = JSON.parse(readFileSync(nodeFilePath(runtimeDirectory), 'utf8')) as Partial<NodeFile> | null
    if (typeof content?.pid !== 'number' || typeof content.token !== 'string') return undefined
    return {
      pid: content.pid,
      token: content.token,
      version: String(content.version),
      startedAt: String(content.startedAt),
      socketPath: String(content.socketPath),
      storeDirectory: String(content.storeDirectory),
      spillDirectory: content.spillDirectory ?? '',
      codeDirectory: String(content.codeDirectory),
      guardianPid: Number(content.guardianPid),
    }
  } catch {
    return undefined
  }
}
