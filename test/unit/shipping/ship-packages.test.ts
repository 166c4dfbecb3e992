/** Packages of all forms, installed for a program. */
import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { FunctionNotShippableError } from '../../../protocols/errors.ts'
import { buildFunction, captureFunction } from '../../../sdk/shipping/index.ts'
import { FixtureProject, packageFiles } from './fixture-project.ts'
import { hooks, ShipWorker } from './ship-worker.ts'

const project = new FixtureProject({
  'package.json': '{ "type": "module" }',
  ...packageFiles(
    'cjs',
    {},
    {
      'index.js': `
      const inner = require('./inner')
      let state = 0
      exports.add = (a, b) => inner.add(a, b)
      exports.count = () => ++state
      exports.Thing = class Thing { constructor(x) { this.x = x } }
      Object.defineProperty(exports, 'hidden', { enumerable: true, get: () => 'got' })`,
      'inner.js': `exports.add = (a, b) => a + b`,
      'sub.js': `const main = require('./index.js'); module.exports = { again: () => main.count(), add: main.add }`,
    },
  ),
  ...packageFiles(
    'cjs-function',
    {},
    { 'index.js': `module.exports = function callMe(x) { return 'called ' + x }; module.exports.version = 'v1'` },
  ),
  ...packageFiles(
    'transpiled',
    {},
    {
      'index.js': `Object.defineProperty(exports, '__esModule', { value: true }); exports.default = () => 'default'; exports.named = () => 'named'`,
    },
  ),
  ...packageFiles(
    'uses-cjs',
    { dependencies: { cjs: '*' } },
    {
      'index.js': `const { count } = require('cjs'); const lazy = () => require('cjs-function'); exports.both = () => [count(), lazy()('x')]`,
    },
  ),
  ...packageFiles(
    'esm',
    { type: 'module', exports: { '.': './main.js', './extra': { node: './extra-node.js', default: './extra.js' } } },
    {
      'main.js': `import * as all from 'cjs'; import callMe from 'cjs-function'; export { count } from 'cjs'; export let live = 1; export const bump = () => ++live; export const viaCjs = () => [all.add(1, 2), callMe('esm'), typeof all.default]`,
      'extra-node.js': `import { bump } from './main.js'; export default () => ['node', bump()]`,
      'extra.js': `export default () => ['default']`,
    },
  ),
  ...packageFiles(
    'dual',
    { exports: { import: './esm.mjs', require: './cjs.cjs', module: './bundler.mjs' } },
    {
      'esm.mjs': `export const which = 'esm'`,
      'cjs.cjs': `exports.which = 'cjs'`,
      'bundler.mjs': `export const which = 'bundler'`,
    },
  ),
  ...packageFiles(
    'optional',
    {},
    {
      'index.js': `let extra; try { extra = require('not-installed') } catch { extra = null } exports.extra = () => extra; exports.later = () => require('also-missing')`,
    },
  ),
  ...packageFiles(
    'beside',
    { main: 'lib/index.js' },
    {
      'lib/index.js': `const fs = require('fs'); exports.read = () => fs.readFileSync(__dirname + '/data.txt', 'utf8'); exports.dep = require('cjs').count`,
      'lib/data.txt': 'beside me',
    },
  ),
  ...packageFiles(
    'beside-esm',
    { type: 'module', main: 'index.js' },
    {
      'index.js': `import { readFileSync } from 'node:fs'; export const read = () => readFileSync(new URL('./data.txt', import.meta.url), 'utf8')`,
      'data.txt': 'beside me too',
    },
  ),
  ...packageFiles(
    'native',
    {},
    {
      'index.js': `exports.load = () => require('./build/addon.node'); exports.fine = () => 'fine'`,
      'build/addon.node': 'x',
    },
  ),
  ...packageFiles('circle-a', {}, { 'index.js': `exports.name = 'a'; exports.other = () => require('circle-b').name` }),
  ...packageFiles(
    'circle-b',
    {},
    { 'index.js': `const a = require('circle-a'); exports.name = 'b'; exports.seen = a.name` },
  ),
  'program.js': `
    import cjsDefault, { add, count, Thing } from 'cjs'
    import callMe, { version } from 'cjs-function'
    import transpiled, { named } from 'transpiled'
    import { both } from 'uses-cjs'
    import { count as countAgain, live, bump, viaCjs } from 'esm'
    import extra from 'esm/extra'
    import { which } from 'dual'
    import { createRequire } from 'node:module'
    import optional from 'optional'
    import { read } from 'beside'
    import beside from 'beside'
    import { read as readEsm } from 'beside-esm'
    import native from 'native'
    import circle from 'circle-a'
    import { helper, Kept } from './helper.js'
    const require = createRequire(import.meta.url)
    const kept = new Thing(1)

    export const run = (name) => table[name]
    const wrap = (fn) => fn
    const table = {
      named: wrap(() => [add(1, 2), new Thing(5).x, cjsDefault.hidden, typeof cjsDefault.add]),
      callable: wrap(() => [callMe('y'), version, callMe.version]),
      transpiled: wrap(() => [typeof transpiled, transpiled.default(), named()]),
      viaPackages: wrap(() => [viaCjs(), both()[1]]),
      oneInstance: wrap(() => [count(), countAgain(), both()[0], count()]),
      live: wrap(() => [live, bump(), live, extra()]),
      dual: wrap(() => which),
      optional: wrap(() => { try { optional.later() } catch (error) { return [optional.extra(), error.code] } }),
      beside: wrap(() => [read(), readEsm(), typeof beside.dep()]),
      native: wrap(() => native.fine()),
      circle: wrap(() => circle.other()),
      helped: wrap(() => [helper(2), new Kept().value, Kept.name]),
      held: wrap(() => kept.x),
      addHeld: wrap(((f) => () => f(2, 3))(add)),
      dynamic: wrap(async () => { const m = await import('cjs'); const { default: f } = await import('cjs-function'); return [m.add(2, 2), f('z'), typeof m.default.count] }),
    }`,
  'helper.js': `
    import { add } from 'cjs'
    import * as all from 'cjs-function'
    import text from 'transpiled'
    export const helper = (x) => [add(x, 1), all.version, all.default('h'), typeof text, text.named()]
    export default class {}
    export class Kept { value = add(1, 1) }`,
  'broken.js': `export const useBroken = async () => (await import('./missing-import.js')).nothing`,
  'missing-import.js': `import { nothing } from './does-not-exist.js'\nexport { nothing }`,
  'missing-package.js': `export const use = () => import('never-installed')`,
  'wrong.js': `export const use = () => import('./syntax-error.js')`,
  'syntax-error.js': `export const x = = 1`,
})
const { run } = await project.load('program.js')

describe('packages', () => {
  const worker = new ShipWorker()
  after(() => worker.stop())
  const cases = [
    'named',
    'callable',
    'transpiled',
    'viaPackages',
    'live',
    'dual',
    'optional',
    'native',
    'circle',
    'helped',
    'held',
    'addHeld',
    'dynamic',
    'beside',
  ]
  for (const name of cases) {
    test(name, async () => {
      const fn = run?.(name as never) as () => unknown
      assert.deepEqual(await worker.run(fn), await fn())
    })
  }

  test('a package has one instance, whoever imports it', async () => {
    const fn = run?.('oneInstance' as never) as () => unknown
    const [first = 0, ...rest] = (await worker.run(fn)) as number[]
    assert.deepEqual(rest, [first + 1, first + 2, first + 3])
  })

  test('packages that look beside themselves, and what those import, are not bundled', async () => {
    const { manifest } = await buildFunction(captureFunction(run?.('beside' as never) as () => unknown, { hooks }))
    const names = manifest.externals.map((external) => `${external.package}@${external.version}`)
    assert.deepEqual([...new Set(names)].toSorted(), ['beside-esm@1.2.3', 'beside@1.2.3'])
  })
})

describe('imports that cannot be bundled', () => {
  const refuse = async (file: string, message: RegExp): Promise<void> => {
    const module = await project.load(file)
    const [fn] = Object.values(module)
    const captured = captureFunction(fn as () => unknown, { name: 'f', hooks })
    await assert.rejects(buildFunction(captured), (error) => {
      assert.ok(error instanceof FunctionNotShippableError)
      assert.match(error.message, message)
      return true
    })
  }

  test('a file that is missing', () =>
    refuse(
      'broken.js',
      /^cannot ship `f` \(.*broken\.js:1:\d+\) to a worker: it imports what cannot be bundled: could not resolve "\.\/does-not-exist\.js" \(.*missing-import\.js:1:\d+\)\n {2}fix: correct the import, or install the package next to the driver$/,
    ))

  test('a package that is not installed', () =>
    refuse(
      'missing-package.js',
      /could not resolve "never-installed" \(.*missing-package\.js:1:\d+\)\n {2}fix: correct the import/,
    ))

  test('a file with a syntax error', () =>
    refuse(
      'wrong.js',
      /it imports what cannot be bundled: Unexpected "=" \(.*syntax-error\.js:1:18\)\n {2}fix: correct the file/,
    ))

  test('do not spoil what is built at the same time', async () => {
    const { useBroken } = await project.load('broken.js')
    const broken = buildFunction(captureFunction(useBroken as () => unknown, { hooks }))
    const fine = buildFunction(captureFunction(run?.('named' as never) as () => unknown, { hooks }))
    await assert.rejects(broken)
    assert.ok((await fine).blobs.size > 1)
  })
})
