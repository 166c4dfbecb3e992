import '../support/loopback.ts'
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { startLocalNode, type LocalNodeProcess } from '../../node/local-mesh/local-node.ts'
import type { NodeOptions } from '../../node/options.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { ask, nodesSeenBy, settled } from '../support/mesh-view.ts'

const gib = 2 ** 30

/** Two nodes of one mesh with devices that are made up: one with two kinds, one with a single device. */
describe('GPUs', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'shoal-gpus-'))
  const started: LocalNodeProcess[] = []
  let large: LocalNodeProcess
  let small: LocalNodeProcess
  const upped = ({ node }: LocalNodeProcess): { ready: LocalNodeProcess['node'] } => ({ ready: node })

  async function start(name: string, options: NodeOptions): Promise<LocalNodeProcess> {
    const home = path.join(directory, name)
    const node = await startLocalNode({
      ...options,
      name,
      cpus: 8,
      prestart: 1,
      runtimeDirectory: path.join(home, 'run'),
      stateDirectory: path.join(home, 'state'),
      storeBytesMax: 50e6,
    })
    started.push(node)
    return node
  }

  /** What a program prints after `RESULT `, attached to the large node. */
  async function run(source: string): Promise<unknown> {
    await using driver = new DriverProgram(
      `import { existsSync, writeFileSync } from 'node:fs'
      import { setTimeout as delay } from 'node:timers/promises'
      import { init, remote, get, nodes, taskContext } from 'SDK'
      await init()
      const tell = (value: unknown) => console.log('RESULT ' + JSON.stringify(value))
      const until = async (isTrue: () => boolean) => { while (!isTrue()) await delay(10) }
      const seen = () => ({ node: taskContext().nodeId, gpuIds: taskContext().gpuIds, visible: process.env['CUDA_VISIBLE_DEVICES'] })
      const look = remote(() => seen())
      const signal = process.cwd() + '/go'
      // Keeps what it has until all are there.
      const hold = remote(async (name: string) => {
        writeFileSync(name, '')
        await until(() => existsSync(signal))
        return seen()
      }, { numCpus: 0, schedulingStrategy: { nodeId: ${JSON.stringify(large.node.nodeId)} } })
      const names: string[] = []
      const started = (options: object) => {
        const name = process.cwd() + '/held-' + names.length
        names.push(name)
        return hold.options(options).remote(name)
      }
      const allStarted = () => until(() => names.every((name) => existsSync(name)))
      const go = () => writeFileSync(signal, '')
      ${source}`,
      { SHOAL_RUNTIME_DIR: large.node.runtimeDirectory },
    )
    const { stdout, stderr, code } = await driver.ended()
    assert.equal(code, 0, stderr)
    return JSON.parse(/RESULT (.*)/.exec(stdout)?.[1] ?? 'null')
  }

  interface Seen {
    node: string
    gpuIds: number[]
    visible: string
  }

  before(async () => {
    large = await start('large', { gpus: 3, gpuTypes: ['H100', 'H100', 'RTX 3090'], gpuMemoryBytes: 80 * gib })
    const { token } = await ask(upped(large), 'tokenCreate', { role: 'worker', ttlMs: 60_000, uses: 1 })
    small = await start('small', { gpus: 1, gpuTypes: ['L4'], join: token })
    await settled([large, small].map(upped))
  })

  after(async () => {
    await Promise.all(started.map((node) => node.stop()))
    rmSync(directory, { recursive: true, force: true })
  })

  test('fractions share a device, whole ones do not, memory is a part; others see none', async () => {
    const result = (await run(
      `const refs = [
        started({ numGpus: 0.5 }), started({ gpuMemoryBytes: ${20 * gib} }), started({ numGpus: 0.25, gpuMemoryBytes: ${10 * gib} }),
        started({ numGpus: 1 }), started({ acceleratorType: 'rtx-3090' }), started({}),
      ]
      await allStarted()
      go()
      tell(await get(refs))`,
    )) as Seen[]
    assert.ok(result.every(({ node }) => node === large.node.nodeId))
    const ids = result.map(({ gpuIds }) => gpuIds)
    const [half = [], memory, quarter, whole = [], typed, none] = ids
    assert.deepEqual([memory, quarter], [half, half], 'all on one device')
    assert.deepEqual([typed, none], [[2], []])
    // In whichever order they came.
    assert.deepEqual(new Set([...half, ...whole]), new Set([0, 1]))
    assert.deepEqual(
      result.map(({ visible }) => visible),
      ids.map((each) => each.join(',')),
    )
  })

  test('a half goes to another node where here only quarters are free', async () => {
    const [{ node }, free] = (await run(
      `const refs = [0, 1, 2].map(() => started({ numGpus: 0.75 }))
      await allStarted()
      const found = await get(look.options({ numGpus: 0.5 }).remote())
      // What a node tells of itself comes a moment after it.
      const free = async () => (await nodes()).find(({ isSelf }) => isSelf)?.gpus.map((gpu) => gpu.type + ' ' + gpu.free)
      let told = await free()
      while (!told?.every((each) => each.endsWith(' 0.25'))) told = await free()
      go()
      await get(refs)
      tell([found, told])`,
    )) as [Seen, string[]]
    assert.equal(node, small.node.nodeId)
    assert.deepEqual(free, ['H100 0.25', 'H100 0.25', 'RTX 3090 0.25'])
  })

  test('a type is found wherever it is; one that there is not is named with those that there are', async () => {
    const [found, several, error] = (await run(
      `const l4 = await get(look.options({ acceleratorType: 'l4' }).remote())
      const several = await get(look.options({ acceleratorType: ['B200', 'RTX 3090'], numGpus: 0.5 }).remote())
      const error = await get(look.options({ acceleratorType: 'A100' }).remote()).catch((problem) => [problem.code, problem.message])
      tell([l4, several, error])`,
    )) as [Seen, Seen, [string, string]]
    assert.deepEqual(found, { node: small.node.nodeId, gpuIds: [0], visible: '0' })
    assert.deepEqual(several, { node: large.node.nodeId, gpuIds: [2], visible: '2' })
    assert.equal(error[0], 'INFEASIBLE')
    assert.match(error[1], /GPU type A100 .*its GPUs are 2 x H100, RTX 3090.*its GPUs are L4/)
  })

  test('every node knows what the others have', async () => {
    const seen = await nodesSeenBy(upped(small))
    const gpus = Object.fromEntries(
      seen.map((each) => [each.name, each.gpus.map(({ type, memoryBytes }) => [type, memoryBytes])]),
    )
    assert.deepEqual(gpus['large']?.[2], ['RTX 3090', 80 * gib])
    // What the machine itself says of its memory is known, if it has a device.
    assert.equal(gpus['small']?.[0]?.[0], 'L4')
  })
})
