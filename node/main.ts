import { enableCompileCache } from 'node:module'
import { compileCacheDirectory } from './home/compile-cache.ts'

import { setFlagsFromString } from 'node:v8'

// A node rests most of the time, on machines that are there for something else: the engine is to be sparing with memory.
setFlagsFromString('--optimize-for-size')
// Its young generation is a megabyte: to wake four threads for that is dearer than to do it at once.
setFlagsFromString('--no-parallel-scavenge')
// Before the rest of the program is loaded, so that this, too, comes from the cache.
const cache = compileCacheDirectory()
if (cache !== undefined) enableCompileCache(cache)
const { runDaemonProcess } = await import('./daemon-process.ts')
await runDaemonProcess(process.argv.slice(2))
