import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { ObjectLostError } from '../../protocols/errors.ts'
import { FileStore } from '../../sdk/store/file-store.ts'
import { MemoryStore } from '../../sdk/store/memory-store.ts'
import { SegmentHost } from '../support/segment-host.ts'
import { testObjectStore } from './object-store-suite.ts'

testObjectStore('memory', () => ({
  readsHere: true,
  create: (bytesMax) => new MemoryStore(bytesMax),
  dispose: () => undefined,
}))

testObjectStore('files', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'shoal-store-'))
  return {
    readsHere: false,
    create: (bytesMax) =>
      new FileStore(directory, bytesMax, {
        stored: () => {},
        free: () => {},
        open: ({ name }) => Promise.reject(new ObjectLostError(`the value ${name} is nowhere else`)),
      }),
    dispose: () => rmSync(directory, { recursive: true }),
  }
})

testObjectStore('shared memory', () => ({
  readsHere: true,
  create: async (bytesMax) => (await SegmentHost.create(bytesMax)).store,
  dispose: () => undefined,
}))
