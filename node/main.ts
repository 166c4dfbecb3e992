import { enableCompileCache } from 'node:module'
import { compileCacheDirectory } from './home/compile-cache.ts'

// Before the rest of the program is loaded, so that this, too, comes from the cache.
const cache = compileCacheDirectory()
if (cache !== undefined) enableCompileCache(cache)
const { runDaemonProcess } = await import('./daemon-process.ts')
await runDaemonProcess(process.argv.slice(2))
