import { enableCompileCache } from 'node:module'
import { compileCacheDirectory } from './workers/compile-cache.ts'
import { nodePlaces } from './home/runtime-directory.ts'

// Before the rest of the program is loaded, so that this, too, comes from the cache.
enableCompileCache(process.env['NODE_COMPILE_CACHE'] ?? compileCacheDirectory(nodePlaces().runtimeDirectory))
const { runDaemonProcess } = await import('./daemon-process.ts')
await runDaemonProcess(process.argv.slice(2))
