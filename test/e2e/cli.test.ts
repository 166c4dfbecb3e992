import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import type { NodeStatus } from '../../node/status.ts'
import { shoalVersion } from '../../protocols/version.ts'
import { shoal, startCommand } from '../support/command-line.ts'
import { isRunning, startDaemonProcess, temporaryDirectory, until } from '../support/daemon-process.ts'
import { FakeClient, leaseRequest } from '../support/fake-client.ts'

function program(name: string, text: string): string {
  const file = path.join(temporaryDirectory(), name)
  writeFileSync(file, text)
  return file
}

describe('help and usage', { concurrency: true }, () => {
  test('--version and --help', async () => {
    const runtime = temporaryDirectory()
    assert.equal((await shoal(runtime, '--version')).stdout, `${shoalVersion}\n`)
    for (const args of [[], ['up'], ['down'], ['status'], ['run']]) {
      const { code, stdout } = await shoal(runtime, ...args, '--help')
      assert.equal(code, 0)
      assert.match(stdout, /^Usage: shoal/)
      assert.match(stdout, /Examples:\n {2}\S/)
      assert.ok(!stdout.includes('\u001b'), 'no colours in a pipe')
    }
    const bare = await shoal(runtime)
    assert.deepEqual([bare.code, bare.stdout], [2, ''])
    assert.match(bare.stderr, /Exit codes:/)
  })

  const wrong: [string[], RegExp][] = [
    [['upp'], /unknown command 'upp'\n\(Did you mean up\?\)/],
    [['up', '--cpu', '3'], /unknown option '--cpu'\n\(Did you mean --cpus\?\)/],
    [['up', '--cpus', '-1'], /--cpus must be a number of CPUs, 0 or more; got "-1"/],
    [['up', '--cpus', 'many'], /--cpus must be a number of CPUs, 0 or more; got "many"/],
    [['up', '--cpus'], /option '--cpus <number>' argument missing/],
    [['up', '--gpus', '1.5'], /--gpus must be a whole number of GPUs, 0 or more; got "1.5"/],
    [['up', '--memory', '4QB'], /--memory must be a size, such as 4GiB, 512MiB or 4e9; got "4QB"/],
    [['up', '--store', ''], /--store must be a size, such as 4GiB, 512MiB or 4e9; got ""/],
    [['up', '--workers-max', '0'], /--workers-max must be a whole number, 1 or more; got "0"/],
    [['up', '--resource', 'tpu'], /--resource must be a name and an amount of 0 or more, such as tpu=2; got "tpu"/],
    [
      ['up', '--resource', 'tpu=-1'],
      /--resource must be a name and an amount of 0 or more, such as tpu=2; got "tpu=-1"/,
    ],
    [['up', '--resource', 'a=1', '--resource', 'a=2'], /--resource names "a" twice/],
    [['up', '--resource', 'cpu=1'], /--resource is for names of your own; for cpu there is --cpus/],
    [['up', '--resource', 'über=1'], /'über' is not a resource name/],
    [['down', 'now'], /too many arguments for 'down'/],
    [['run'], /missing required argument 'file'/],
    [['run', '--fast', 'x.ts'], /unknown option '--fast'/],
  ]
  for (const [args, message] of wrong) {
    test(`wrong: shoal ${args.join(' ')}`, async () => {
      const { code, stdout, stderr } = await shoal(temporaryDirectory(), ...args)
      assert.match(stderr, message)
      assert.deepEqual([code, stdout], [2, ''])
    })
  }
})

describe('the node', { concurrency: true }, () => {
  test('none runs: status and down say so', async () => {
    const runtime = temporaryDirectory()
    for (const command of ['status', 'down']) {
      const { code, stderr } = await shoal(runtime, command)
      assert.equal(code, 1)
      assert.equal(stderr, `shoal: no node runs here (socket ${runtime}/node.sock): start one with \`shoal up\`\n`)
    }
  })

  test('up --detach, a second up, status, down', async (t) => {
    const runtime = temporaryDirectory()
    const up = await shoal(
      runtime,
      'up',
      '-d',
      '--json',
      '--cpus',
      '1',
      '--gpus',
      '0',
      '--resource',
      'tpu=2',
      '--memory',
      '1GiB',
    )
    assert.equal(up.code, 0, up.stderr)
    const said = JSON.parse(up.stdout) as { pid: number; resources: unknown }
    t.after(() => isRunning(said.pid) && process.kill(said.pid, 'SIGTERM'))
    assert.deepEqual(said.resources, { CPU: 1, memory: 1024 ** 3, tpu: 2 })
    for (const args of [['up'], ['up', '--detach']]) {
      const second = await shoal(runtime, ...args)
      assert.equal(second.code, 1)
      assert.match(
        second.stderr,
        /^shoal: a node is already running here \(pid \d+, socket .*\): use it, stop it with `shoal down`/,
      )
    }
    const status = JSON.parse((await shoal(runtime, 'status', '--json')).stdout) as NodeStatus
    assert.equal(status.node.pid, said.pid)
    assert.equal(status.resources.total['tpu'], 2)
    const down = await shoal(runtime, 'down')
    assert.deepEqual([down.code, down.stdout], [0, `The node (pid ${said.pid}) is stopped.\n`])
    assert.deepEqual(readdirSync(runtime), [])
    await until('the process is gone', () => !isRunning(said.pid))
  })

  test('up in the foreground says what there is, and ends with Ctrl-C', async (t) => {
    const runtime = temporaryDirectory()
    const up = startCommand(runtime, 'up', '--cpus', '1', '--gpus', '0', '--store', '64MiB')
    t.after(() => up.child.kill())
    await up.printed('Ctrl-C stops it.')
    up.child.kill('SIGINT')
    const { code, stdout } = await up.result
    assert.equal(code, 0)
    assert.match(
      stdout,
      new RegExp(`A node is up \\(pid \\d+\\)\\.\n {2}socket {5}${runtime}/node\\.sock\n {2}resources {2}CPU 1, `),
    )
    assert.match(stdout, /store {6}64 MiB in /)
    assert.match(stdout, /The node has stopped\.\n$/)
    assert.deepEqual(readdirSync(runtime), [])
  })

  test('status shows what runs, what waits and why; --watch goes on', async (t) => {
    const { runtimeDirectory, socketPath } = await startDaemonProcess(t, { cpus: 1 })
    const client = await FakeClient.attach(socketPath, { program: '/home/me/search.ts' })
    client.send('taskCounts', { running: 1, queued: 998 })
    await client.lease({ label: 'square' })
    client.send('leaseRequest', leaseRequest(client, { label: 'cube' }))
    client.send('statusGet', { requestId: 1 })
    await client.next('statusReply')
    const { code, stdout } = await shoal(runtimeDirectory, 'status')
    assert.equal(code, 0)
    assert.match(stdout, /CPU +\[#{24}\] 1 of 1 in use/)
    assert.match(stdout, /#\d+ +pid \d+ +running +\S+ {2}square/)
    assert.match(stdout, /1 x cube \(CPU 1\), for \S+: waiting for CPU 1: 1 of 1 in use/)
    assert.match(stdout, /Programs \(1\)\n {2}pid \d+ +1 task running, 998 queued {2}\/home\/me\/search\.ts/)
    const watch = startCommand(runtimeDirectory, 'status', '--watch', '--json')
    await watch.printed('\n')
    watch.child.kill('SIGINT')
    assert.equal((await watch.result).code, 0)
    await client.close()
  })

  test('something else at the socket is told apart from a node', async (t) => {
    const runtime = temporaryDirectory()
    const { createServer } = await import('node:net')
    const server = createServer((socket) => socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    await new Promise<void>((resolve) => server.listen(path.join(runtime, 'node.sock'), resolve))
    t.after(() => server.close())
    const { code, stderr } = await shoal(runtime, 'status')
    assert.equal(code, 1)
    assert.match(stderr, /what answers at .*node\.sock is no node of this version of shoal/)
  })
})

describe('shoal run', { concurrency: true }, () => {
  test('passes on arguments, output and exit code', async () => {
    const file = program(
      'ok.ts',
      'const all: string[] = process.argv.slice(2)\nconsole.log(all.join("|"))\nprocess.exit(7)\n',
    )
    const { code, stdout, stderr } = await shoal(temporaryDirectory(), 'run', file, 'a', '--json', '--', '-x')
    assert.deepEqual([code, stdout, stderr], [7, 'a|--json|--|-x\n', ''])
  })

  test("`import 'shoal'` works where it is not installed, and other missing packages stay missing", async () => {
    const runtime = temporaryDirectory()
    const file = program('own.ts', "console.log(import.meta.resolve('shoal'))\n")
    const { code, stdout } = await shoal(runtime, 'run', file)
    assert.deepEqual([code, stdout], [0, `${new URL('../../sdk/index.ts', import.meta.url).href}\n`])
    const missing = await shoal(runtime, 'run', program('missing.ts', "import 'no-such-package'\n"))
    assert.equal(missing.code, 1)
    assert.match(missing.stderr, /Cannot find package 'no-such-package'/)
  })

  const bad: [string, string, RegExp][] = [
    [
      'bad.ts',
      'const x: number = 1\nconst y = = 2\n',
      /syntax error in .*bad\.ts:2: Expression expected\n +const y = = 2\n$/,
    ],
    ['enum.ts', 'enum A { B }\n', /syntax error in .*enum\.ts:1: TypeScript enum is not supported/],
    ['bad.mjs', 'import "node:fs"\nlet x = ]\n', /syntax error in .*bad\.mjs:2:9: Unexpected token\n +let x = \]\n$/],
    ['bad.cjs', 'const a = ;\n', /syntax error in .*bad\.cjs:1:11: Unexpected token/],
  ]
  for (const [name, text, message] of bad) {
    test(`a syntax error: ${name}`, async () => {
      const { code, stdout, stderr } = await shoal(temporaryDirectory(), 'run', program(name, text))
      assert.match(stderr, message)
      assert.deepEqual([code, stdout], [1, ''])
    })
  }

  test('a file that is not there', async () => {
    const runtime = temporaryDirectory()
    const missing = await shoal(runtime, 'run', path.join(runtime, 'nope.ts'))
    assert.deepEqual([missing.code, missing.stdout], [1, ''])
    assert.match(missing.stderr, /cannot run .*nope\.ts: there is no such file/)
    assert.match((await shoal(runtime, 'run', runtime)).stderr, /that is not a file/)
  })

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`${signal} ends the program, and the command as the program ended`, async () => {
      const file = program('long.ts', 'console.log(`pid ${process.pid};`)\nsetInterval(() => {}, 1000)\n')
      const command = startCommand(temporaryDirectory(), 'run', file)
      await command.printed(';')
      command.child.kill(signal)
      const { signal: endedBy, stdout } = await command.result
      assert.equal(endedBy, signal)
      const pid = Number(/pid (\d+)/.exec(stdout)?.[1])
      await until('the program is gone', () => !isRunning(pid))
    })
  }
})
