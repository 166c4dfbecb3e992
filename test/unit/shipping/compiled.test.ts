/** Programs that were compiled to JavaScript. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { transformSync } from 'esbuild'
import { placeOf } from './place-of.ts'

const run = promisify(execFile)
const fixtures = fileURLToPath(new URL('./fixtures/compiled/', import.meta.url))
const sources = ['program', 'program-helper']
const expected = [14, 14, [2, 'Low'], [1, 'typed', 6], ['b', 'helped me', 'default', 'helped you'], 'helped lazy', 9]

async function runProgram(directory: string): Promise<{ results: unknown[]; stack: string }> {
  const shipWorker = fileURLToPath(new URL('./ship-worker.ts', import.meta.url))
  const { stdout } = await run(process.execPath, [
    '--enable-source-maps',
    path.join(directory, 'program.js'),
    shipWorker,
  ])
  return JSON.parse(stdout) as { results: unknown[]; stack: string }
}

function compileWithEsbuild(directory: string, format: 'esm' | 'cjs'): void {
  for (const name of sources) {
    const file = path.join(directory, `${name}.ts`)
    const { code, map } = transformSync(readFileSync(file, 'utf8'), {
      loader: 'ts',
      format,
      target: 'es2022',
      sourcefile: file,
      sourcemap: 'external',
      platform: 'node',
    })
    writeFileSync(path.join(directory, `${name}.js`), `${code}//# sourceMappingURL=${name}.js.map\n`)
    writeFileSync(path.join(directory, `${name}.js.map`), map)
  }
}

async function compileWithTypeScript(directory: string, module: 'nodenext' | 'commonjs'): Promise<void> {
  const tsc = fileURLToPath(import.meta.resolve('typescript/package.json')).replace('package.json', 'bin/tsc')
  const options = [
    '--target',
    'es2022',
    '--sourceMap',
    '--noCheck',
    '--ignoreConfig',
    '--rootDir',
    directory,
    '--outDir',
    directory,
  ]
  const resolution = module === 'commonjs' ? ['--moduleResolution', 'bundler'] : []
  const files = sources.map((name) => path.join(directory, `${name}.ts`))
  await run(process.execPath, [tsc, '--module', module, ...resolution, ...options, ...files])
}

const compilers = {
  'esbuild, ES modules': (directory: string) => compileWithEsbuild(directory, 'esm'),
  'esbuild, CommonJS': (directory: string) => compileWithEsbuild(directory, 'cjs'),
  'tsc, ES modules': (directory: string) => compileWithTypeScript(directory, 'nodenext'),
  'tsc, CommonJS': (directory: string) => compileWithTypeScript(directory, 'commonjs'),
}

describe('compiled by', () => {
  for (const [name, compile] of Object.entries(compilers)) {
    test(name, async () => {
      const directory = mkdtempSync(path.join(tmpdir(), 'shoal-compiled-'))
      try {
        const type = name.endsWith('CommonJS') ? 'commonjs' : 'module'
        writeFileSync(path.join(directory, 'package.json'), JSON.stringify({ type }))
        for (const source of sources)
          copyFileSync(path.join(fixtures, `${source}.ts.txt`), path.join(directory, `${source}.ts`))
        await compile(directory)
        const { results, stack } = await runProgram(directory)
        assert.deepEqual(results, expected)
        const place = placeOf(path.join(fixtures, 'program.ts.txt'), 'new Error(detail)')
        assert.ok(stack.startsWith('Error: wrong\n') && stack.includes(`/program.ts:${place})`), stack)
      } finally {
        rmSync(directory, { recursive: true, force: true })
      }
    })
  }
})
