/** What cannot travel, and what the user is told. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createServer, Socket } from 'node:net'
import fc from 'fast-check'
import { FunctionNotShippableError } from '../../../protocols/errors.ts'
import { buildFunction, captureFunction, stopBundler } from '../../../sdk/shipping/index.ts'
// @ts-expect-error it has no types
import computed from './fixtures/computed-require.cjs'
import { hooks } from './ship-worker.ts'

after(() => stopBundler())

interface Parts {
  parts: { load: () => unknown; whole: () => unknown }
}

class Secret {
  #value = 1
  reveal(): number {
    return this.#value
  }
  makeArrow(): () => Secret {
    return () => this
  }
  makePrivate(): () => number {
    // oxlint-disable-next-line no-this-alias
    const self = this
    return () => self.#value
  }
  field = (): Secret => this
}
class Sub extends Secret {
  makeSuper(): () => number {
    return () => super.reveal()
  }
}
function makeArguments(): () => unknown {
  return () => arguments[0] // oxlint-disable-line prefer-rest-params
}
function MakeTarget(): () => unknown {
  return () => new.target
}
let assignedLater: Socket | undefined
function connect(): void {
  assignedLater = new Socket()
}
connect()
class Emitter extends EventTarget {}

interface Refused {
  fn: (...args: never[]) => unknown
  reason: RegExp | string
  /** Without `function f -> `. */
  path?: string
  fix: RegExp | string
}

function local<T>(value: T): () => T {
  const captured = value
  return () => captured
}

const cases: Record<string, () => Refused> = {
  'the name of a function expression around it': () => ({
    fn: (function inner(): () => unknown {
      return () => inner
    })(),
    reason: 'it uses `inner`, the name of the function expression around it, which cannot be read from outside',
    fix: 'give the function a variable, as in const inner = function () {…}, or declare it',
  }),
  'a Promise': () => ({
    fn: local(Promise.resolve(1)),
    reason: 'it holds a Promise',
    path: 'captured',
    fix: 'await it first, or pass the ObjectRef of a remote task as an argument',
  }),
  'a Server deep inside': () => ({
    fn: local({ list: [{ sock: createServer() }] }),
    reason: 'it holds an instance of Server (built-in) which cannot be copied',
    path: 'captured -> .list[0] -> .sock',
    fix: /^create it inside the function, or at the top level of the module/,
  }),
  'a socket in a Map': () => ({
    fn: local(new Map([['db', new Socket()]])),
    reason: /Socket \(built-in\)/,
    path: 'captured -> .get("db")',
    fix: /^create it inside/,
  }),
  'an instance of a class of a package': () => ({
    fn: local(fc.integer()),
    reason: "it holds an instance of IntegerArbitrary (package 'fast-check') which cannot be copied",
    path: 'captured',
    fix: /^create it inside/,
  }),
  'an instance of a subclass of a built-in class': () => ({
    fn: local(new Emitter()),
    reason: 'it holds an instance of Emitter, which extends EventTarget (built-in) which cannot be copied',
    path: 'captured',
    fix: /^create it inside/,
  }),
  'an instance with private fields': () => ({
    fn: local([new Secret()]),
    reason: /an instance of Secret, a class with private #fields/,
    path: 'captured[0]',
    fix: /or send its plain data$/,
  }),
  '`this` of the method around': () => ({
    fn: new Secret().makeArrow(),
    reason: 'it uses `this` of the method or function around it',
    fix: /^copy what it needs to a const first/,
  }),
  'an arrow function in a field': () => ({
    fn: new Secret().field,
    reason: 'it uses `this` of the method or function around it',
    fix: /^copy what it needs/,
  }),
  '`arguments` of the function around': () => ({
    fn: makeArguments(),
    reason: 'it uses `arguments` of the function around it',
    fix: 'copy it to a const first, as in const args = [...arguments]',
  }),
  '`new.target` of the function around': () => ({
    fn: MakeTarget(),
    reason: 'it uses `new.target` of the function around it',
    fix: /^copy it to a const/,
  }),
  '`super` of the class around': () => ({
    fn: new Sub().makeSuper(),
    reason: 'it uses `super` of the class around it',
    fix: /^ship the whole class/,
  }),
  'a private name of the class around': () => ({
    fn: new Secret().makePrivate(),
    reason: 'it uses the private name #value of the class around it',
    fix: 'pass the value as an argument',
  }),
  'a running generator': () => ({
    fn: local((function* () {})()),
    reason: 'it holds a running generator',
    path: 'captured',
    fix: 'call the generator function inside the task',
  }),
  'a WeakMap': () => ({
    fn: local({ cache: new WeakMap() }),
    reason: 'it holds a WeakMap',
    path: 'captured -> .cache',
    fix: /^create it inside the function/,
  }),
  'a Proxy': () => ({
    fn: local(new Proxy({}, {})),
    reason: 'it holds a Proxy',
    path: 'captured',
    fix: 'capture the plain value behind it',
  }),
  'a unique symbol': () => ({
    fn: local({ key: Symbol('mine') }),
    reason: 'it holds the unique symbol Symbol(mine)',
    path: 'captured -> .key',
    fix: /^use Symbol.for/,
  }),
  'a buffer that was transferred away': () => {
    const buffer = new ArrayBuffer(8)
    const view = new Uint8Array(buffer)
    buffer.transfer()
    return {
      fn: local([view]),
      reason: 'it holds an ArrayBuffer that was transferred away',
      path: 'captured[0]',
      fix: 'capture what it was transferred to',
    }
  },
  'a view beyond its buffer': () => {
    const buffer = new ArrayBuffer(8, { maxByteLength: 8 })
    const view = new DataView(buffer, 4)
    buffer.resize(2)
    return {
      fn: local(view),
      reason: 'it holds a view that is out of the bounds of its buffer',
      fix: 'make a new view after the resize()',
    }
  },
  'shared memory': () => ({
    fn: local(new Uint8Array(new SharedArrayBuffer(4))),
    reason: 'it holds shared memory',
    path: 'captured',
    fix: /^copy it to an ArrayBuffer/,
  }),
  'a direct eval': () => ({
    fn: (text: string) => eval(text) as unknown, // oxlint-disable-line no-eval
    reason: 'it calls eval() directly, so that what it captures cannot be known',
    path: 'eval',
    fix: /^use \(0, eval\)\(text\)/,
  }),
  'a native function': () => ({
    fn: local(new Intl.NumberFormat().format),
    reason: 'it holds the native function `anonymous`',
    path: 'captured',
    fix: /^wrap it/,
  }),
  'a computed require': () => ({
    fn: (computed as Parts).parts.load,
    reason: 'it calls require() with a computed name',
    path: 'require',
    fix: /^use a literal name/,
  }),
  'the module object': () => ({
    fn: (computed as Parts).parts.whole,
    reason: 'it uses the `module` or `exports` object of its file',
    path: 'module',
    fix: /^give what it needs a name/,
  }),
  'a top-level variable that a function assigns': () => ({
    fn: () => assignedLater,
    reason: 'it holds an instance of Socket (built-in) which cannot be copied and is assigned inside a function',
    path: 'assignedLater',
    fix: /^create it inside/,
  }),
  'too much': () => ({
    fn: local({ parts: Array.from({ length: 3 }, () => new Uint8Array(40 * 2 ** 20)) }),
    reason: 'the values that it captures are over the limit of 100 MiB',
    fix: 'put() the large value once and pass its ObjectRef as an argument',
  }),
}

for (const [name, make] of Object.entries(cases)) {
  test(`refuses ${name}`, () => {
    const { fn, reason, path, fix } = make()
    assert.throws(
      () => captureFunction(fn, { name: 'f', hooks }),
      (error) => {
        assert.ok(error instanceof FunctionNotShippableError, String(error))
        const [head = '', ...rest] = error.message.split('\n')
        const position = String.raw`\((?:test/unit/shipping/[\w./-]+|/[\w./-]+):\d+:\d+\)`
        const match = new RegExp(`^cannot ship \`f\` ${position} to a worker: (.*?)(?: ${position})?$`).exec(head)
        assertText(match?.[1] ?? head, reason)
        if (path !== undefined) assert.equal(rest[0], `  reached through: function f -> ${path}`)
        assertText((rest.at(-1) ?? '').replace('  fix: ', ''), fix)
        assert.equal(error.details['function'], 'f')
        return true
      },
    )
  })
}

function assertText(actual: string, expected: RegExp | string): void {
  if (typeof expected === 'string') assert.equal(actual, expected)
  else assert.match(actual, expected)
}

test('names the place of the function and of the value', () => {
  const holder = { deep: createServer() }
  const fn = (): unknown => holder
  assert.throws(
    () => captureFunction(fn, { hooks }),
    /^FunctionNotShippableError: cannot ship `fn` \(test\/unit\/shipping\/refusals\.test\.ts:\d+:14\) to a worker: .* \(test\/unit\/shipping\/refusals\.test\.ts:\d+:9\)\n/,
  )
})

test('refuses a native addon of the user, when it is built', async () => {
  // @ts-expect-error it has no types
  const fn = async (): Promise<unknown> => await import('./fixtures/native-user.cjs')
  await assert.rejects(
    buildFunction(captureFunction(fn, { name: 'f', hooks })),
    /it imports the native addon '\.\/fake-addon\.node' \(test\/unit\/shipping\/fixtures\/native-user\.cjs\)\n {2}fix: put the addon in a package/,
  )
})
