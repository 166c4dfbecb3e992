import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { DriverProgram } from '../support/driver-program.ts'
import { allGone, processesWith } from '../support/processes.ts'

/** Every process of a program's own node carries this mark in its environment. */
function marked(): { env: Record<string, string>; mark: string } {
  const id = `${process.pid}-${Math.random().toString(36).slice(2)}`
  return { env: { SHOAL_TEST_MARK: id }, mark: `SHOAL_TEST_MARK=${id}` }
}

/** Everything that a node has put into the file system: its folder, and that of values on the disk. */
function foldersOf(socketPath: string): string[] {
  const directory = path.dirname(socketPath)
  const { spillDirectory } = JSON.parse(readFileSync(path.join(directory, 'node.json'), 'utf8')) as {
    spillDirectory: string
  }
  assert.ok(existsSync(spillDirectory))
  return [directory, spillDirectory]
}

/** The last process of a node is its guardian, who clears up; when all are gone, so is what they left. */
function assertGone(folders: readonly string[]): void {
  assert.deepEqual(
    folders.filter((folder) => existsSync(folder)),
    [],
  )
}

const busyProgram = `
import { init, remote, get, put } from 'SDK'
const { nodePid, address } = await init({ numCpus: 2 })
const busy = remote((data: Uint8Array) => { console.log('busy with', data.length); for (;;); })
const data = put(new Uint8Array(3_000_000))
const refs = [busy.remote(data), busy.remote(data)]
console.log('node', nodePid, address)
const startMs = performance.now()
try {
  await get(refs)
} catch (error) {
  console.log('got', (error as { code: string }).code, (error as { retryable: boolean }).retryable)
}
`

describe('endings', () => {
  test('a program that ends by itself shows all output and leaves nothing', async () => {
    const { env, mark } = marked()
    await using program = new DriverProgram(
      `
import { init, remote, get } from 'SDK'
await init({ numCpus: 2 })
const greet = remote((name: string) => { console.log('hello', name); console.error('to stderr'); return 1 })
await get(greet.remote('shoal'))
await get(remote(function loud() { process.stdout.write('no newline') }).remote())
`,
      env,
    )
    const { code, stdout, stderr } = await program.ended()
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^\(greet pid=\d+\) hello shoal$/m)
    assert.match(stdout, /^\(loud pid=\d+\) no newline$/m)
    assert.match(stderr, /^\(greet pid=\d+\) to stderr$/m)
    await allGone(processesWith(mark))
  })

  test('repeated lines of many workers are folded', async () => {
    await using program = new DriverProgram(`
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { init, remote, get } from 'SDK'
await init({ numCpus: 3 })
const here = import.meta.dirname + '/here'
mkdirSync(here)
const same = remote(async () => {
  writeFileSync(here + '/' + process.pid, '')
  // Until all three are there, each on a worker of its own.
  while (readdirSync(here).length < 3) await new Promise(setImmediate)
  console.log('the same')
  return process.pid
})
const pids = await get([same.remote(), same.remote(), same.remote()])
console.log('workers', new Set(pids).size)
`)
    const { stdout } = await program.ended()
    const lines = stdout.split('\n').filter((line) => line.includes('the same'))
    assert.match(stdout, /workers 3/)
    assert.equal(lines.length, 2, stdout)
    assert.match(lines[1] ?? '', /the same \[repeated 2x across 3 workers\]/)
  })

  test('kill -9 of the node: the driver gets an error, nothing is left', async () => {
    const { env, mark } = marked()
    await using program = new DriverProgram(busyProgram, env)
    const [, nodePid, address] = await program.printed(/node (\d+) (\S+)/)
    const folders = foldersOf(address as string)
    await program.printed(/busy with 3000000/)
    process.kill(Number(nodePid), 'SIGKILL')
    const { stdout, code } = await program.ended()
    assert.match(stdout, /got NODE_DIED false/)
    assert.equal(code, 0)
    await allGone(processesWith(mark))
    assertGone(folders)
  })

  test('after kill -9 of the node whatever is asked of it fails with the reason', async () => {
    await using program = new DriverProgram(`
import * as shoal from 'SDK'
const { ActorPool, get, getActor, init, parallelMap, placementGroup, Pool, put, Queue, remote, shutdown, wait } = shoal
const { nodePid } = await init({ numCpus: 6 })
const Counter = remote(class { add(x: number) { return x } })
const counter = Counter.remote()
await get(counter.add.remote(1))
const actors = new ActorPool([counter])
const pool = new Pool({ size: 1 })
await pool.map((x: number) => x, [1])
const queue = new Queue<number>()
await queue.size()
const group = await placementGroup([{ CPU: 1 }]).ready()
const one = remote(() => 1)
const large = remote(() => new Uint8Array(1_000_000)).remote()
await wait([large], { fetchLocal: false })
const endless = remote(() => new Promise(() => {})).remote()
process.kill(nodePid, 'SIGKILL')
await get(endless).catch(() => undefined)
const asked: Record<string, () => unknown> = {
  task: () => get(one.remote()),
  put: () => put(1),
  call: () => get(counter.add.remote(1)),
  actor: () => get(Counter.remote().add.remote(1)),
  queue: () => queue.put(1),
  actorPool: () => Array.fromAsync(actors.map((actor, x) => actor.add.remote(x), [1, 2, 3])),
  poolMap: () => pool.map((x: number) => x, [1]),
  parallelMap: () => parallelMap([1], (x) => x),
  getActor: () => getActor('nobody'),
  ready: () => group.ready(),
  remove: () => group.remove(),
  large: () => get(large),
}
for (const [name, ask] of Object.entries(asked)) {
  try {
    await ask()
    console.log(name, 'no error')
  } catch (error) {
    const { code, cause } = error as { code: string; cause?: { code: string } }
    console.log(name, code === 'ITEM_FAILED' ? cause?.code : code)
  }
}
await pool[Symbol.asyncDispose]()
await shutdown()
console.log('ended')
`)
    const { stdout, stderr, code } = await program.ended()
    const asked = 'task put call actor queue actorPool poolMap parallelMap getActor ready remove large'.split(' ')
    const expected = [...asked.map((name) => `${name} NODE_DIED`), 'ended']
    assert.deepEqual(stdout.trim().split('\n'), expected, stderr)
    assert.equal(code, 0, stderr)
  })

  test('shutdown() ends the node also when something before that fails, and says what', async () => {
    await using program = new DriverProgram(`
import { init, shutdown } from 'SDK'
import { currentRuntime } from 'SDK/../runtime/current-runtime.ts'
const { nodePid } = await init({ numCpus: 1 })
currentRuntime().actors.endAll = () => Promise.reject(new Error('no end'))
console.log('node', nodePid)
await new Promise((resolve) => process.stdin.once('data', resolve))
await shutdown().catch((error: Error) => console.log(error.message))
console.log('ended')
await new Promise((resolve) => process.stdin.once('data', resolve))
process.stdin.destroy()
`)
    const [, nodePid] = await program.printed(/node (\d+)/)
    program.write('shut down\n')
    await program.printed(/no end\nended/)
    await allGone([Number(nodePid)])
    program.write('end\n')
    await program.ended()
  })

  test('kill -9 of the program: its node and workers go, busy ones too', async () => {
    const { env, mark } = marked()
    await using program = new DriverProgram(busyProgram, env)
    const [, , address] = await program.printed(/node (\d+) (\S+)/)
    const folders = foldersOf(address as string)
    await program.printed(/busy with/)
    program.kill('SIGKILL')
    await program.ended()
    await allGone(processesWith(mark))
    assertGone(folders)
  })

  test('Ctrl-C ends the program and everything that it started', async () => {
    const { env, mark } = marked()
    await using program = new DriverProgram(busyProgram, env)
    await program.printed(/busy with/)
    program.kill('SIGINT')
    const { signal } = await program.ended()
    assert.equal(signal, 'SIGINT')
    await allGone(processesWith(mark))
  })

  test('what a task started ends with its worker', async () => {
    const { env, mark } = marked()
    await using program = new DriverProgram(
      `
import { spawn } from 'node:child_process'
import { init, remote, get } from 'SDK'
await init({ numCpus: 1 })
const start = remote(() => spawn('sleep', ['1000'], { stdio: 'ignore' }).pid)
console.log('sleeper', await get(start.remote()))
`,
      env,
    )
    const [, sleeper] = await program.printed(/sleeper (\d+)/)
    const { code } = await program.ended()
    assert.equal(code, 0)
    await allGone([Number(sleeper), ...processesWith(mark)])
  })

  test('an error that nobody catches ends the program with its message', async () => {
    await using program = new DriverProgram(`
import { init, remote, get } from 'SDK'
await init({ numCpus: 1 })
const fail = remote((n: number) => { throw new RangeError('out of ' + n) })
await get(fail.remote(3))
`)
    const { code, stderr } = await program.ended()
    assert.equal(code, 1)
    assert.match(stderr, /RangeError: out of 3/)
    assert.match(stderr, /driver\.ts:4:\d+/)
  })

  test('before init() and after shutdown() the message says what to do', async () => {
    await using program = new DriverProgram(`
import { init, remote, shutdown } from 'SDK'
const f = remote(() => 1)
try { f.remote() } catch (error) { console.log((error as Error).message) }
await init({ numCpus: 1 })
await shutdown()
try { f.remote() } catch (error) { console.log((error as { code: string }).code) }
`)
    const { stdout } = await program.ended()
    assert.match(stdout, /call `await init\(\)` first/)
    assert.match(stdout, /NOT_INITIALIZED/)
  })
})
