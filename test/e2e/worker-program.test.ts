import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { cacheDirectory } from '../../node/home/compile-cache.ts'
import { WorkerProgram } from '../../node/workers/worker-program.ts'
import { get, init, put, remote, shutdown, ShoalError, TaskError, type ObjectRef } from '../../sdk/index.ts'
import { temporaryDirectory } from '../support/daemon-process.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { freshRuntimeDirectory } from '../support/runtime-directory.ts'

const entry = fileURLToPath(new URL('../../sdk/worker/main.ts', import.meta.url))

/** The user's own, made from one of the SDK's. */
class SealError extends ShoalError {
  constructor(text: string) {
    super('SEAL', text)
  }
}

const double = remote((x: number) => 2 * x)

describe('the program of workers', () => {
  let program: WorkerProgram
  let removeDirectory: () => void
  before(async () => {
    program = new WorkerProgram({ entry, cacheDirectory: cacheDirectory('worker'), log: assert.fail })
    await program.prepare()
    removeDirectory = freshRuntimeDirectory()
    await init({ numCpus: 2 })
  })
  after(async () => {
    await shutdown()
    removeDirectory()
  })

  test('is one file', async () => {
    assert.notEqual(program.file, entry)
    assert.equal(await get(remote(() => process.argv[1]).remote()), program.file)
  })

  test('has the same exports and classes of the same names as the modules', async () => {
    const names = ['sdk/index.ts', 'sdk/objects/object-ref.ts', 'sdk/actors/actor-handle.ts', 'protocols/errors.ts']
    const urls = names.map((name) => new URL(`../../${name}`, import.meta.url).href)
    assert.deepEqual(await get(remote(exportsOf).remote(urls)), await exportsOf(urls))
  })

  test('gives the SDK that it runs to whoever imports it, however that is done', async () => {
    const moduleUrl = new URL('../../sdk/objects/object-ref.ts', import.meta.url).href
    const indexUrl = new URL('../../sdk/index.ts', import.meta.url).href
    const look = remote(async (refs: readonly ObjectRef<number>[]) => {
      const { ObjectRef: byModule } = (await import(moduleUrl)) as { ObjectRef: new () => object }
      const { ObjectRef: byIndex } = (await import(indexUrl)) as { ObjectRef: new () => object }
      const { createRequire } = await import('node:module')
      const required = createRequire(indexUrl)('./index.ts') as { ObjectRef: new () => object }
      const failed: unknown = await get(put(1), { timeoutMs: -1 }).catch((error: unknown) => error)
      return [
        refs[0] instanceof byModule,
        byIndex === byModule,
        required.ObjectRef === byModule,
        failed instanceof ShoalError,
      ]
    })
    assert.deepEqual(await get(look.remote([put(1)])), [true, true, true, true])
  })

  test('ships on what was shipped to it, with what that has of the SDK', async () => {
    const outer = remote(async () => {
      const read = get
      const inner = remote(async (x: number) => {
        if (x < 0) throw new SealError('no seal')
        return (await read(double.remote(x))) + (await get(put(1)))
      })
      const failure: unknown = await get(inner.remote(-1)).catch((error: unknown) => error)
      return [await get(inner.remote(20)), failure instanceof SealError && failure instanceof ShoalError]
    })
    assert.deepEqual(await get(outer.remote()), [41, true])
  })

  test("shows the user's frames of an error, and the modules of the SDK by their own names", async () => {
    const fail = remote(() => {
      throw new TypeError('a net')
    })
    const failInside = remote(failInGet)
    const own = await failureOf(fail.remote())
    assert.match(own, /^TypeError: a net\n\s+at \S*.*worker-program\.test\.ts:\d+:\d+\)?\n\s+in task fail/)
    const inside = await failureOf(failInside.remote())
    const here: unknown = await failInGet().catch((error: unknown) => error)
    // The driver runs the modules: the same frames are in the same places.
    const places = placesIn(inside)
    assert.match(places[0] ?? '', /\/sdk\/api\/\S+\.ts:/)
    assert.match(places.at(-1) ?? '', /worker-program\.test\.ts:/)
    assert.deepEqual(places, placesIn((here as Error).stack ?? '').slice(0, places.length))
    assert.doesNotMatch(own + inside, /\.mjs|sdk\/worker/)
  })
})

describe('without a place for the program of workers', () => {
  test('workers run the modules', async () => {
    const noFolder = path.join(temporaryDirectory(), 'file')
    writeFileSync(noFolder, '')
    await using program = new DriverProgram(
      `import { get, init, remote } from 'SDK'
       await init({ embedded: true, numCpus: 1 })
       console.log('it is', await get(remote(() => process.argv[1]).remote()))`,
      { XDG_CACHE_HOME: noFolder },
    )
    const { code, stdout, stderr } = await program.ended()
    assert.deepEqual([code, stderr], [0, ''])
    assert.equal(stdout, `it is ${entry}\n`)
  })
})

/** What modules export, with the names of classes. */
async function exportsOf(urls: readonly string[]): Promise<string[]> {
  const list: string[] = []
  for (const url of urls) {
    for (const [key, value] of Object.entries((await import(url)) as Record<string, unknown>)) {
      const isClass = typeof value === 'function' && /^class\b/.test(String(value))
      list.push(`${url} ${key}: ${isClass ? value.name : typeof value}`)
    }
  }
  return list.toSorted()
}

async function failInGet(): Promise<void> {
  await get([] as unknown as ObjectRef<number>, { timeoutMs: -1 })
}

function placesIn(stack: string): string[] {
  return Array.from(stack.matchAll(/\/[^/\s()]\S*:\d+:\d+/g), ([place]) => place)
}

async function failureOf(ref: ObjectRef<unknown>): Promise<string> {
  const error: unknown = await get(ref).catch((thrown: unknown) => thrown)
  assert.ok(error instanceof Error && !(error instanceof TaskError))
  return error.stack ?? ''
}
