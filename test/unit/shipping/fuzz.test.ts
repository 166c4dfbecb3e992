/**
 * Random programs: nested scopes, variables that closures share, functions and classes that use each other, values of
 * all kinds. A shipped function has to give what it gives here. `SHOAL_FUZZ_SEED` and `SHOAL_FUZZ_RUNS` repeat a run.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { ProgramGenerator } from './program-generator.ts'
import { ShipWorker } from './ship-worker.ts'

const seed = Number(process.env['SHOAL_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const runs = Number(process.env['SHOAL_FUZZ_RUNS'] ?? 100)

interface Program {
  make(): (n: number) => unknown
}

test(`${runs} random programs, seed ${seed}`, async (t) => {
  t.diagnostic(`SHOAL_FUZZ_SEED=${seed}`)
  const directory = mkdtempSync(path.join(tmpdir(), 'shoal-fuzz-'))
  const worker = new ShipWorker()
  after(async () => {
    await worker.stop()
    rmSync(directory, { recursive: true, force: true })
  })
  for (let i = 0; i < runs; i++) {
    const generator = new ProgramGenerator(seed + i)
    const isImportable = i % 3 === 0
    const program = generator.program(isImportable)
    // Modules that a worker can import, and those that it cannot, which are taken apart.
    const file = path.join(directory, isImportable ? `p${i}.ts` : `p${i}.test.ts`)
    writeFileSync(file, program)
    const { make } = (await import(pathToFileURL(file).href)) as Program
    const fn = make()
    const shipped = await worker.run(fn, 3).catch((error: unknown) => error)
    const local = await Promise.resolve(fn(3))
    assert.deepEqual(shipped, local, `seed ${seed + i}:\n${program}`)
  }
})
