/** What functions import. */
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import * as path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as acorn from 'acorn'
import * as scopes from 'eslint-scope'
import fc, { hash } from 'fast-check'
import { Command } from 'commander'
// @ts-expect-error it has no types
import svmModule from 'libsvm-js'
import { buildFunction, captureFunction, type ShippedFunction } from '../../../sdk/shipping/index.ts'
import data from './fixtures/data.json' with { type: 'json' }
// @ts-expect-error it has no types
import common from './fixtures/common.cjs'
import makeDefault, * as library from './fixtures/library.ts'
import {
  arrow,
  calls,
  countCalls,
  describeFile,
  failDeep,
  LibraryError,
  makeHidden,
  makeSecretReader,
  Vector,
} from './fixtures/library.ts'
import { offsetBy, workerSdk } from './fixtures/uses-sdk.ts'
import { testShipCases } from './ship-case.ts'
import { hooks, ShipWorker } from './ship-worker.ts'

const require = createRequire(import.meta.url)
const arbitrary = fc.integer({ min: 1, max: 9 })

describe('imports', () => {
  testShipCases({
    'built-in modules': () => ({
      fn: async (text: string) => {
        await sleep(1)
        return [createHash('sha256').update(text).digest('hex'), path.extname('a.txt')]
      },
      args: ['x'],
    }),
    'an ES module package': () => ({
      fn: (text: string) => acorn.parse(text, { ecmaVersion: 2022 }).body.length,
      args: ['a;b'],
    }),
    'a package that imports packages': () => ({
      fn: (text: string) => {
        const tree = acorn.parse(text, { ecmaVersion: 2022, ranges: true })
        return scopes.analyze(tree as never, { ecmaVersion: 2022 }).scopes.length
      },
      args: ['function f(a) { return a }'],
    }),
    'a class of a package': () => ({ fn: () => new Command('x').description('y').description() }),
    'an instance of a class of a package is made again': () => ({
      fn: (seed: number) => fc.sample(arbitrary, { seed, numRuns: 5 }),
      args: [7],
    }),
    'a namespace of a file': () => ({ fn: () => [typeof library.countCalls, library.arrow(2), makeDefault()] }),
    'files that import each other': () => ({ fn: () => arrow(3) }),
    'a file knows its own name': () => ({ fn: () => [describeFile(), library.readOwnSource()] }),
    'a live binding': () => ({
      fn: () => {
        const before = calls
        countCalls()
        return calls - before
      },
    }),
    JSON: () => ({ fn: () => [data.name, data.list.length] }),
    'a CommonJS file': () => ({ fn: () => [common.next() > 0, common.where(), common.help(1), common.data()] }),
    'import() of a literal': () => ({
      fn: async () => {
        const { fromB } = await import('./fixtures/cycle-b.ts')
        const { parse } = await import('acorn')
        const os = await import('node:os')
        return [fromB(1), parse('1', { ecmaVersion: 2022 }).end, typeof os.cpus]
      },
    }),
    'import() inside an imported file': () => ({ fn: () => library.lazily() }),
    'import.meta': () => ({
      fn: () => [import.meta.url, import.meta.filename, import.meta.dirname, import.meta.resolve('./ship-case.ts')],
    }),
    'createRequire at the top level': () => ({ fn: () => typeof require('acorn').parse }),
    'an exported function by itself': () => ({ fn: describeFile }),
    'an exported class': () => ({ fn: () => new Vector(1, 2).add(Vector.unit) instanceof Vector }),
    'a closure of a file': () => ({ fn: makeSecretReader() }),
    'instances of classes of a file': () => {
      const hidden = makeHidden()
      const vector = new Vector(1, 1)
      return { fn: () => [hidden instanceof Vector, hidden.tag, hidden.add(vector).x, vector.y] }
    },
    'errors of a class of a file': () => ({
      fn: () => {
        try {
          return failDeep()
        } catch (error) {
          return error instanceof LibraryError && error.details
        }
      },
    }),
    'a function of a package in a variable': () => {
      const { parse } = acorn
      return { fn: () => parse('a', { ecmaVersion: 2022 }).end }
    },
    'an exported function of a package': () => ({ fn: hash, args: ['text'] }),
    'a local import': async () => {
      const { parse } = await import('acorn')
      const lib = await import('./fixtures/cycle-b.ts')
      return { fn: () => [parse('[1]', { ecmaVersion: 2022 }).end, lib.fromB(1)] }
    },
    'a function of a file that imports the SDK': () => ({ fn: offsetBy, args: [1] }),
    'the SDK of the worker': () => ({ fn: workerSdk, expected: true }),
    'the SDK of the worker, through import()': () => ({
      fn: async () => ((await import('../../../sdk/index.ts')) as { isWorkerSdk?: boolean }).isWorkerSdk,
      expected: true,
    }),
    'compiled code that finds its files, as asm.js': () => ({
      fn: async () => {
        const SVM = (await import('libsvm-js/asm.js')).default as unknown
        return trainXor(SVM)
      },
      expected: [0, 1, 1, 0],
    }),
    'compiled code that finds its files, as wasm': () => ({
      fn: async () => trainXor(await svmModule),
      expected: [0, 1, 1, 0],
    }),
  })
})

interface Svm {
  new (options: object): { train(x: number[][], y: number[]): void; predict(x: number[][]): number[] }
  SVM_TYPES: Record<string, number>
  KERNEL_TYPES: Record<string, number>
}
function trainXor(SVM: unknown): number[] {
  const Svm = SVM as Svm
  const svm = new Svm({ kernel: Svm.KERNEL_TYPES['RBF'], type: Svm.SVM_TYPES['C_SVC'], gamma: 1, cost: 1, quiet: true })
  const points = [[0, 0], [0, 1], [1, 0], [1, 1]] // oxfmt-ignore
  svm.train(points, [0, 1, 1, 0])
  return svm.predict(points)
}

describe('bundles', () => {
  const worker = new ShipWorker()
  after(() => worker.stop())
  const ship = (fn: (...args: never[]) => unknown): Promise<ShippedFunction> =>
    buildFunction(captureFunction(fn, { hooks }))

  test('two functions share the instance of a file', async () => {
    const first = await worker.run(() => countCalls())
    const second = await worker.run(async () => {
      const { countCalls: again } = await import('./fixtures/library.ts')
      return again()
    })
    assert.equal(second, (first as number) + 1)
  })

  test('two functions share the instance of a CommonJS file', async () => {
    assert.deepEqual(
      [await worker.run(() => common.next()), await worker.run((x: number) => common.next() + x, 0)],
      [1, 2],
    )
  })

  test('code of a package is sent once', async () => {
    const [one, two] = await Promise.all([
      ship(() => acorn.parse('1', { ecmaVersion: 2022 })),
      ship(() => acorn.version),
    ])
    const shared = [...one.blobs.keys()].filter((hash) => two.blobs.has(hash))
    assert.ok(shared.length >= one.blobs.size - 1)
  })

  test('the code does not depend on values', async () => {
    const make = (n: number) => () => n + countCalls()
    const [one, two] = await Promise.all([ship(make(1)), ship(make(2))])
    assert.deepEqual([...one.blobs.keys()], [...two.blobs.keys()])
  })

  test('packages that are not bundled are named', async () => {
    const { manifest } = await ship(() => svmModule)
    const [external] = manifest.externals
    assert.equal(manifest.externals.length, 1)
    assert.equal(external?.external, 'libsvm-js')
    assert.equal(external?.package, 'libsvm-js')
    assert.match(external?.version ?? '', /^\d+\.\d+\.\d+$/)
    assert.match(external?.url ?? '', /^file:.*\/node_modules\/libsvm-js\/wasm\.js$/)
  })

  test('only what is used is imported', async () => {
    const { manifest } = await ship(() => path.sep)
    assert.deepEqual(manifest.libs, [{ kind: 'builtin', name: 'path' }])
    assert.deepEqual(manifest.files, [])
  })
})
