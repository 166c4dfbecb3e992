import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { FileStore } from '../../sdk/store/file-store.ts'
import { MemoryStore } from '../../sdk/store/memory-store.ts'
import { testObjectStore } from './object-store-suite.ts'

testObjectStore('memory', () => ({ create: (bytesMax) => new MemoryStore(bytesMax), dispose: () => undefined }))

testObjectStore('files', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'shoal-store-'))
  return {
    create: (bytesMax) => new FileStore(directory, bytesMax),
    dispose: () => rmSync(directory, { recursive: true }),
  }
})
