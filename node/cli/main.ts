#!/usr/bin/env node
// The rest is loaded only after this check: an older Node could not even read it.
const [major = 0] = process.versions.node.split('.').map(Number)
if (major < 24) {
  process.stderr.write(`shoal: needs Node.js 24 or later; this is ${process.version} (${process.execPath})\n`)
  process.exit(1)
}
const { enableCompileCache } = await import('node:module')
const { compileCacheDirectory } = await import('../home/compile-cache.ts')
const cache = compileCacheDirectory()
if (cache !== undefined) enableCompileCache(cache)
const { runCommandLine } = await import('./program.ts')
await runCommandLine(process.argv)
