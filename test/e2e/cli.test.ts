import assert from 'node:assert/strict'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isNodeOf } from '../../node/cli/down.ts'
import { startLocalMesh } from '../../node/local-mesh/local-mesh.ts'
import type { NodeStatus } from '../../node/status.ts'
import { heapLimit } from '../../node/system/heap-limit.ts'
import type { AdminValue } from '../../protocols/admin.ts'
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
    const commands = [
      'up',
      'join',
      'down',
      'status',
      'nodes',
      'explain',
      'objects',
      'memory',
      'run',
      'token',
      'member',
      'leave',
      'doctor',
      'mesh',
    ]
    const below = [
      ['token', 'create'],
      ['token', 'list'],
      ['token', 'revoke'],
      ['member', 'list'],
      ['member', 'revoke'],
    ]
    for (const args of [[], ...commands.map((command) => [command]), ...below]) {
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
    [['up', '--gpu-type', 'H100,'], /--gpu-type must be a type, such as H100, or one for each GPU; got "H100,"/],
    [['up', '--resource', 'accelerator:h100=1'], /for accelerator:h100 there is --gpu-type/],
    [['up', '--gpus', '2', '--gpu-type', 'A,B,C'], /gpuTypes of a node names 3 types for 2 GPUs/],
    [['up', '--memory-limit-percent', '0'], /memoryLimitPercent of a node must be a number from 1 to 100/],
    [['up', '--memory', '4QB'], /--memory must be a size, such as 4GiB, 512MiB or 4e9; got "4QB"/],
    [['up', '--store', ''], /--store must be a size, such as 4GiB, 512MiB or 4e9; got ""/],
    [['up', '--store', '4000TiB'], /--store is 3\.9 PiB, and this machine has \S+ \S+ of memory: give less/],
    [['up', '--spill-dir', ''], /--spill-dir must be a folder .*; got ""/],
    [['up', '--spill-dir', '--no-mesh'], /--spill-dir must be a folder .*; got "--no-mesh"/],
    [['up', '--no-spill', '--spill-dir', '/tmp'], /--no-spill refuses them: give one/],
    [['up', '--name', '--detach'], /--name must be a name that does not begin with -; got "--detach"/],
    [['up', '--workers-max', '0'], /--workers-max must be a whole number, 1 or more; got "0"/],
    [['up', '--resource', 'tpu'], /--resource must be a name and an amount of 0 or more, such as tpu=2; got "tpu"/],
    [
      ['up', '--resource', 'tpu=-1'],
      /--resource must be a name and an amount of 0 or more, such as tpu=2; got "tpu=-1"/,
    ],
    [['up', '--resource', 'a=1', '--resource', 'a=2'], /--resource names "a" twice/],
    [['up', '--resource', 'cpu=1'], /--resource is for names of your own; for cpu there is --cpus/],
    [['up', '--resource', 'über=1'], /'über' is not a resource name/],
    [['up', '--listen', 'desk'], /--listen must be an IP address of this machine, with a port if you like/],
    [['up', '--peer', 'desk'], /--peer must be an address such as 192\.168\.1\.7:7461/],
    [['up', '--label', 'zone'], /--label must be a name and a value, such as zone=lab1; got "zone"/],
    [['up', '--label', 'a b=1'], /'a b' is not a name of a label/],
    [['up', '--name', 'a b'], /the name of a node must be 1 to 63 letters/],
    [['join'], /a token is needed to join a mesh: give it as `shoal join TOKEN`, or `-`, or in SHOAL_TOKEN/],
    [['join', 'hello'], /this is not a join token: it does not begin with "shoal1\."/],
    [['token', 'create', '--role', 'root'], /--role must be one of worker, submitter, admin; got "root"/],
    [['token', 'create', '--ttl', 'soon'], /--ttl must be a time, such as 30m, 1h or 2d; got "soon"/],
    [['token', 'make'], /unknown command 'make'/],
    [['leave'], /Leave the mesh\? .* Without a terminal to ask on, add --yes to do it/],
    [['tasks', '--limit', '0'], /--limit must be a number of tasks, 1 or more; got "0"/],
    [['timeline', '--since', 'ever'], /--since must be a time, such as 30m, 1h or 2d; got "ever"/],
    [['timeline', '--since', '1h', '--duration', '5s'], /--since looks back and --duration ahead: give one of them/],
    [['events', '--limit', 'all'], /--limit must be a number of events, 1 or more; got "all"/],
    [['logs'], /say whose output is meant: a task, a pid or a node, and only one of them/],
    [['logs', 'train', '--pid', '7'], /say whose output is meant/],
    [['drain'], /missing required argument 'node'/],
    [['drain', 'desk', '--deadline', '0'], /--deadline must be a number of seconds; got "0"/],
    [['drain', 'desk', '--undo', '--force'], /--undo takes no other option/],
    [['mesh', '--nodes', '0'], /--nodes must be a whole number, 1 or more; got "0"/],
    [['objects', 'locate', 'abc'], /the id of an object has 44 hex digits, as `ref\.id` .* show it; got "abc"/],
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
  test('none runs: commands say so', async () => {
    const runtime = temporaryDirectory()
    for (const command of ['status', 'down', 'tasks', 'timeline', 'events', 'logs train', 'drain desk']) {
      const { code, stderr } = await shoal(runtime, ...command.split(' '))
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
    const said = JSON.parse(up.stdout) as { pid: number; resources: unknown; store: { bytesMax: number } }
    t.after(() => isRunning(said.pid) && process.kill(said.pid, 'SIGTERM'))
    assert.deepEqual(said.resources, { CPU: 1, memory: 1024 ** 3, tpu: 2 })
    assert.ok(said.store.bytesMax > 0)
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
    assert.deepEqual(readdirSync(runtime), ['state'])
    await until('the process is gone', () => !isRunning(said.pid))
  })

  test('up --detach says what up says', async () => {
    const runtime = temporaryDirectory()
    const options = ['--no-mesh', '--store', '64MiB', '--spill-dir', path.join(runtime, 'spill')]
    const { code, stdout } = await shoal(runtime, 'up', '--detach', ...options)
    assert.equal((await shoal(runtime, 'down')).code, 0)
    assert.equal(code, 0)
    assert.match(stdout, new RegExp(`\n {2}store {6}64 MiB in .*, then on the disk in ${runtime}/spill\n`))
    assert.match(stdout, /It runs in the background; `shoal down` stops it\.\n$/)
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
    assert.deepEqual(readdirSync(runtime), ['state'])
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

  test('down kills a node that hangs, and nothing else that has its pid', async (t) => {
    const daemon = await startDaemonProcess(t, { prestart: 0 })
    assert.ok(isNodeOf(daemon.runtimeDirectory, daemon.pid))
    assert.ok(!isNodeOf(temporaryDirectory(), daemon.pid))
    assert.ok(!isNodeOf(daemon.runtimeDirectory, process.pid))
    daemon.child.kill('SIGSTOP')
    const { code, stdout } = await shoal(daemon.runtimeDirectory, 'down')
    assert.deepEqual([code, stdout], [0, `The node (pid ${daemon.pid}) is killed, since it did not answer.\n`])
    await until('the process is gone', () => !isRunning(daemon.pid))
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

  test('the heap may grow to most of the memory, or as far as NODE_OPTIONS says', async () => {
    const file = program('heap.mjs', "import v8 from 'node:v8'\nconsole.log(v8.getHeapStatistics().heap_size_limit)\n")
    const { stdout } = await shoal(temporaryDirectory(), 'run', file)
    assert.ok(Number(stdout) >= totalmem() * 0.7, stdout)
    assert.deepEqual(heapLimit({ NODE_OPTIONS: '--max-old-space-size=300' }), [])
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

const fakeWorker = fileURLToPath(new URL('../support/fake-worker.ts', import.meta.url))
const small = { workerEntry: fakeWorker, prestart: 0 }

async function json<T>(runtimeDirectory: string, ...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await shoal(runtimeDirectory, ...args, '--json')
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout) as T
}

describe('the mesh', () => {
  test('two nodes: what the commands show and change', async () => {
    await using mesh = await startLocalMesh({ nodes: 2, options: small })
    const [first, second] = mesh.nodes
    assert.ok(first !== undefined && second !== undefined)
    const here = first.runtimeDirectory
    const nodes = await json<AdminValue<'nodes'>>(here, 'nodes')
    assert.deepEqual(nodes.map(({ id, isSelf }) => [id, isSelf]).slice(0, 1), [[first.nodeId, true]])
    assert.match((await shoal(here, 'nodes')).stdout, /^NAME .*\nn1 +[0-9a-f]{16} +admin +this node/)
    const doctor = await json<{ name: string; level: string }[]>(here, 'doctor')
    assert.equal(doctor.find(({ name }) => name === 'certificate')?.level, 'ok')
    assert.match((await shoal(here, 'status')).stdout, /\nMesh [0-9a-f]{8}, as admin [0-9a-f]{16}\n {2}head {7}/)
    assert.equal((await json<{ mesh: AdminValue<'meshInfo'> }>(here, 'status')).mesh.self, first.nodeId)
    assert.deepEqual(await json(here, 'explain'), [])

    const made = await json<AdminValue<'tokenCreate'>>(here, 'token', 'create', '--role', 'submitter', '--ttl', '5m')
    assert.equal(made.role, 'submitter')
    const isListed = async (): Promise<boolean> =>
      (await json<AdminValue<'tokenList'>>(here, 'token', 'list')).some(({ id }) => id === made.id)
    assert.equal(await isListed(), true)
    assert.deepEqual(await json(here, 'token', 'revoke', made.id.slice(0, 12)), { id: made.id, revoked: true })
    assert.equal(await isListed(), false)

    assert.deepEqual(await json(here, 'member', 'revoke', 'n2', '--yes'), {
      node: second.nodeId,
      name: 'n2',
      revoked: true,
    })
    const members = await json<AdminValue<'memberList'>>(here, 'member', 'list')
    assert.equal(members.find(({ node }) => node === second.nodeId)?.state, 'revoked')
    const unknown = await shoal(here, 'member', 'revoke', 'n3', '--yes')
    assert.deepEqual([unknown.code, unknown.stdout], [2, ''])
    assert.match(unknown.stderr, /there is no member "n3"; there is n1 \(/)
  })

  test('join with a token from standard input or the environment, and leave, with and without a node', async (t) => {
    await using mesh = await startLocalMesh({ nodes: 1, options: small })
    const [first] = mesh.nodes
    assert.ok(first !== undefined)
    const { token } = await json<AdminValue<'tokenCreate'>>(first.runtimeDirectory, 'token', 'create', '--uses', '2')
    const runtime = temporaryDirectory()
    const join = startCommand(
      runtime,
      'join',
      '-',
      '--detach',
      '--json',
      '--cpus',
      '1',
      '--gpus',
      '0',
      '--name',
      'joiner',
    )
    join.child.stdin.end(`${token}\n`)
    const joined = await join.result
    assert.equal(joined.code, 0, joined.stderr)
    const { pid, nodeId, meshName } = JSON.parse(joined.stdout) as { pid: number; nodeId: string; meshName: string }
    t.after(() => isRunning(pid) && process.kill(pid, 'SIGTERM'))
    const { mesh: info } = await json<{ mesh: AdminValue<'meshInfo'> }>(first.runtimeDirectory, 'status')
    assert.equal(meshName, info.meshName)
    assert.notEqual(nodeId, first.nodeId)
    assert.deepEqual(await json(runtime, 'leave', '--yes'), { meshName, left: true })
    await until('the node has stopped', () => !isRunning(pid))

    process.env['SHOAL_TOKEN'] = token
    const withEnvironment = startCommand(runtime, 'join', '--detach', '--json', '--cpus', '1', '--gpus', '0')
    delete process.env['SHOAL_TOKEN']
    const again = await withEnvironment.result
    assert.equal(again.code, 0, again.stderr)
    const { pid: nextPid } = JSON.parse(again.stdout) as { pid: number }
    t.after(() => isRunning(nextPid) && process.kill(nextPid, 'SIGTERM'))
    assert.equal((await shoal(runtime, 'down')).code, 0)
    const left = await shoal(runtime, 'leave', '--yes')
    const twice = await shoal(runtime, 'leave', '--yes')
    assert.deepEqual([left.code, left.stdout], [0, `This machine has left mesh ${meshName}.\n`])
    assert.deepEqual([twice.code, twice.stderr], [1, 'shoal: this machine is not a member of any mesh\n'])
  })

  test('a node on its own says so; without a node, doctor looks at the machine', async (t) => {
    const { runtimeDirectory } = await startDaemonProcess(t, { mesh: false })
    const { code, stderr } = await shoal(runtimeDirectory, 'nodes')
    assert.equal(code, 1)
    assert.match(stderr, /^shoal: this node is on its own/)
    const status = await shoal(runtimeDirectory, 'status')
    assert.deepEqual([status.code, status.stderr], [0, ''])
    assert.match(status.stdout, /CPU +\[/)
    assert.ok(!status.stdout.includes('Mesh'))
    const told = await json<NodeStatus & { mesh?: unknown }>(runtimeDirectory, 'status')
    assert.deepEqual([told.resources.total['CPU'], 'mesh' in told], [2, false])
    const findings = await json<{ name: string; level: string }[]>(temporaryDirectory(), 'doctor')
    assert.equal(findings.find(({ name }) => name === 'node')?.level, 'warn')
    assert.equal(findings.find(({ name }) => name === 'Node.js')?.level, 'ok')
  })

  test('a node on its own finds objects in its own store', async (t) => {
    const { runtimeDirectory, socketPath } = await startDaemonProcess(t, { mesh: false, prestart: 0 })
    const client = await FakeClient.attach(socketPath)
    const id = `${client.id}00000000000a`
    await client.store(socketPath, 'ab'.repeat(16), 5000, id)
    client.send('statusGet', { requestId: 1 })
    await client.next('statusReply')
    const typed = `ObjectRef(${id.toUpperCase()})`
    const { holders } = await json<AdminValue<'objectLocate'>>(runtimeDirectory, 'objects', 'locate', typed)
    assert.equal(holders.length, 1)
    const none = await shoal(runtimeDirectory, 'objects', 'locate', `${client.id}00000000000b`)
    assert.equal(none.code, 1)
    assert.match(none.stdout, /^No node .* holds .*00b\. \(Values of up to 100 KiB stay with their owners\.\)\n$/)
    await client.close()
  })

  test('shoal mesh: several nodes until Ctrl-C, and nothing stays', async (t) => {
    const command = startCommand(temporaryDirectory(), 'mesh', '--nodes', '2', '--json')
    t.after(() => command.child.kill('SIGKILL'))
    let text = ''
    command.child.stdout.on('data', (chunk: string) => (text += chunk))
    await command.printed('\n')
    const { directory, nodes } = JSON.parse(text) as {
      directory: string
      nodes: { pid: number; runtimeDirectory: string }[]
    }
    assert.equal(nodes.length, 2)
    assert.equal((await shoal(nodes[1]?.runtimeDirectory ?? '', 'down')).code, 0)
    assert.equal((await shoal(nodes[0]?.runtimeDirectory ?? '', 'status')).code, 0, 'the other one goes on')
    command.child.kill('SIGINT')
    const { code, stderr } = await command.result
    assert.deepEqual([code, stderr], [0, 'The node n2 has ended.\n'])
    assert.deepEqual(
      nodes.filter(({ pid }) => isRunning(pid)),
      [],
    )
    assert.equal(existsSync(directory), false)
  })
})
