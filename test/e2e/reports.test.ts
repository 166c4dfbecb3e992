import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { ListedEvent } from '../../node/cli/events.ts'
import type { ListedTask, TaskList } from '../../node/cli/format-tasks.ts'
import type { Trace } from '../../node/cli/trace.ts'
import { startLocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import type { OutputLine } from '../../protocols/admin.ts'
import { shoal, startCommand } from '../support/command-line.ts'
import { DriverProgram } from '../support/driver-program.ts'

/** Looks again and again until things are as they should be; what is told for people to read comes a little later. */
async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + 30_000
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > end) throw new Error(`gave up waiting until ${what}`)
    await delay(50)
  }
}

async function json<T>({ runtimeDirectory }: LocalNode, ...args: string[]): Promise<T> {
  const { stdout, stderr, code } = await shoal(runtimeDirectory, ...args, '--json')
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout) as T
}

describe('what the nodes of a mesh tell', { timeout: 120_000 }, () => {
  test('their tasks: those that run, wait and have ended, with where', async () => {
    await using mesh = await startLocalMesh({ nodes: 2 })
    const [home, other] = mesh.nodes as [LocalNode, LocalNode]
    const end = path.join(mesh.directory, 'end')
    await using driver = new DriverProgram(
      `
      import { existsSync } from 'node:fs'
      import { init, remote, get } from 'SDK'
      await init()
      const on = (nodeId: string) => ({ schedulingStrategy: { nodeId } }) as const
      const until = async (file: string) => { while (!existsSync(file)) await new Promise((r) => setTimeout(r, 20)) }
      const square = remote((x: number) => x * x, { name: 'square', ...on('${other.nodeId}') })
      const fail = remote(() => { throw new TypeError('no') }, { name: 'fail', ...on('${home.nodeId}') })
      await get([square.remote(1), square.remote(2)])
      await get(fail.remote()).catch(() => {})
      const hold = remote(async () => { await until(${JSON.stringify(end)}); return 1 }, { name: 'hold', ...on('${home.nodeId}') })
      const behind = remote(() => 2, { name: 'behind', ...on('${home.nodeId}') })
      const after = remote((x: number) => x, { name: 'after' })
      const held = hold.remote()
      const last = after.remote(held)
      const queued = behind.remote()
      await get(square.remote(3))
      console.log('READY')
      await get([last, queued])
      console.log('DONE')
      await until(${JSON.stringify(end)} + '2')
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    await driver.printed(/READY/)
    // The other node tells the same.
    const list = await until('all is told', async () => {
      const { tasks } = await json<TaskList>(other, 'tasks')
      const squares = tasks.filter(({ name, state }) => name === 'square' && state === 'finished')
      const names = new Set(tasks.map(({ name }) => name))
      return squares.length === 3 && names.size === 5 ? tasks : undefined
    })
    const found = (name: string): ListedTask => list.find((task) => task.name === name) as ListedTask
    assert.equal(found('square').node, other.nodeId)
    assert.deepEqual(
      ['hold', 'behind', 'after', 'fail'].map((name) => [name, found(name).state]),
      [
        ['hold', 'running'],
        ['behind', 'queued'],
        ['after', 'waiting'],
        ['fail', 'failed'],
      ],
    )
    assert.equal((found('fail') as { code?: string }).code, 'TypeError')
    assert.equal(found('hold').node, home.nodeId)
    assert.equal(found('hold').jobName, `driver.ts (pid ${driver.pid})`)
    const { stdout } = await shoal(home.runtimeDirectory, 'tasks', 'hold')
    assert.match(
      stdout,
      /^TASK +NAME +STATE +NODE +PID +JOB +TIME +TRY +ERROR\n[0-9a-f]{44} +hold +running +\S+ +\d+ +driver\.ts/,
    )
    writeFileSync(end, '')
    await driver.printed(/DONE/)
    await until('all have ended', async () => {
      const { tasks } = await json<TaskList>(home, 'tasks')
      return tasks.every(({ state }) => state === 'finished' || state === 'failed') && tasks.length >= 7
        ? true
        : undefined
    })
    const file = path.join(mesh.directory, 'trace.json')
    const written = await shoal(other.runtimeDirectory, 'timeline', '--output', file)
    assert.match(written.stdout, /trace\.json: \d+ tasks and \d+ events of 2 nodes; open it at/)
    const { traceEvents } = JSON.parse(readFileSync(file, 'utf8')) as Trace
    const slices = traceEvents.filter((event) => event.ph === 'X')
    const processes = traceEvents.flatMap((event) => {
      return event.ph === 'M' && event.name === 'process_name' && 'name' in event.args ? [event.args.name] : []
    })
    assert.equal(processes.length, 2)
    const onOther = slices.filter(({ pid }) => processes[pid - 1]?.includes(other.nodeId))
    assert.deepEqual(
      [onOther.filter(({ name }) => name === 'square').length, slices.filter(({ name }) => name === 'hold').length],
      [3, 1],
    )
    assert.ok(traceEvents.some(({ ph, name }) => ph === 'i' && name.includes('is head')))
    writeFileSync(`${end}2`, '')
    await driver.ended()
  })

  test('what their tasks print, what their workers print, and what happens', async () => {
    await using mesh = await startLocalMesh({ nodes: 2 })
    const [home, other] = mesh.nodes as [LocalNode, LocalNode]
    const end = path.join(mesh.directory, 'end')
    await using driver = new DriverProgram(
      `
      import { existsSync } from 'node:fs'
      import { init, remote, get, taskContext } from 'SDK'
      await init({ logToDriver: false })
      const until = async (file: string) => { while (!existsSync(file)) await new Promise((r) => setTimeout(r, 20)) }
      const there = { schedulingStrategy: { nodeId: '${other.nodeId}' }, maxRetries: 0 } as const
      const greet = remote((name: string) => { console.log('hello ' + name); return process.pid }, { name: 'greet', ...there })
      const crash = remote(() => { console.error('last words'); process.kill(process.pid, 'SIGSEGV') }, { name: 'crash', ...there })
      const first = greet.remote('one')
      const pid = await get(first)
      await get(greet.remote('two'))
      await get(crash.remote() as never).catch(() => {})
      console.log('READY ' + JSON.stringify({ pid, id: first.id }))
      await until(${JSON.stringify(end)})
      await get(greet.remote('three'))
      console.log('DONE')
      await until(${JSON.stringify(end)} + '2')
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    const [, ready = ''] = await driver.printed(/READY (.*)\n/)
    const { pid, id } = JSON.parse(ready) as { pid: number; id: string }
    const linesOf = async (...args: string[]): Promise<string[]> => {
      const { stdout, stderr, code } = await shoal(home.runtimeDirectory, 'logs', ...args)
      assert.equal(code, 0, stderr)
      return stdout.split('\n').filter((line) => line !== '')
    }
    const texts = await until('both have been read', async () => {
      const lines = await linesOf('greet', '--json')
      return lines.length === 2 ? lines.map((line) => JSON.parse(line) as OutputLine) : undefined
    })
    assert.deepEqual(
      texts.map(({ text, task }) => [text, task === id]),
      [
        ['hello one', true],
        ['hello two', false],
      ],
    )
    assert.deepEqual((await linesOf(id)).length, 1)
    assert.match((await linesOf(String(pid)))[0] ?? '', new RegExp(`^\\(greet pid=${pid} on \\S+\\) hello one$`))
    assert.match((await linesOf('--node', other.nodeId)).join('\n'), /node [0-9a-f]{16} is up/)
    const { events } = await until('the crash is told', async () => {
      const told = await json<{ events: ListedEvent[] }>(home, 'events', '--limit', '1000')
      return told.events.some(({ kind, level }) => kind === 'worker' && level === 'error') ? told : undefined
    })
    const crash = events.find(({ kind, level }) => kind === 'worker' && level === 'error')
    assert.equal(crash?.node, other.nodeId)
    assert.match(crash?.text ?? '', /ended: signal SIGSEGV; its last words: last words/)
    for (const kind of ['node', 'link', 'head', 'program'])
      assert.ok(
        events.some((event) => event.kind === kind),
        kind,
      )
    const following = startCommand(home.runtimeDirectory, 'logs', 'greet', '--follow')
    await following.printed('hello two')
    const happening = startCommand(home.runtimeDirectory, 'events', '--follow', '--limit', '1')
    await happening.printed('\n')
    writeFileSync(end, '')
    await following.printed('hello three')
    following.child.kill('SIGINT')
    assert.equal((await following.result).code, 0)
    await driver.printed(/DONE/)
    writeFileSync(`${end}2`, '')
    await happening.printed('has gone')
    happening.child.kill('SIGINT')
    assert.equal((await happening.result).code, 0)
    await driver.ended()
  })
})
