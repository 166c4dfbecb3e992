import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { startLocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { DriverProgram } from '../support/driver-program.ts'

/** A program on the first of two nodes; `make` gives it 10 MB on the second one, which cannot be made again. */
function program(home: LocalNode, other: LocalNode, source: string): DriverProgram {
  return new DriverProgram(
    `
    import { init, remote, get, put, wait, nodes } from 'SDK'
    await init()
    const there = { schedulingStrategy: { nodeId: ${JSON.stringify(other.nodeId)} }, maxRetries: 0 } as const
    const make = remote((seed: number) => Float64Array.from({ length: 1_250_000 }, (_, i) => i * seed), there)
    const isRight = (values: Float64Array, seed: number) => values.length === 1_250_000 && values.every((x, i) => x === i * seed)
    const say = (value: unknown) => console.log('RESULT ' + JSON.stringify(value))
    ${source}
    `,
    { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
  )
}

async function saidBy(driver: DriverProgram): Promise<unknown> {
  const { stdout, stderr } = await driver.ended()
  const said = /RESULT (.*)/.exec(stdout)?.[1]
  assert.ok(said !== undefined, `${stdout}\n${stderr}`)
  return JSON.parse(said)
}

describe('wait, for values of another node', { timeout: 60_000 }, () => {
  test('brings them here, so that they outlive their node; with fetchLocal: false it does not', async () => {
    await using mesh = await startLocalMesh({ nodes: 2 })
    const [home, other] = mesh.nodes as [LocalNode, LocalNode]
    await using driver = program(
      home,
      other,
      `
      const brought = [make.remote(1), make.remote(2)]
      const left = make.remote(3)
      const first = await wait(brought, { count: 2 })
      const second = await wait([left], { fetchLocal: false })
      console.log('READY')
      while ((await nodes()).filter(({ isAlive }) => isAlive).length > 1) await new Promise((r) => setTimeout(r, 20))
      const values = await get(brought)
      // Its value cannot be had, and \`get\` says so: that is to be ready, too.
      const third = await wait([left])
      const error = await get(left).catch((reason: Error) => reason.name)
      say([first, second, third].map(({ ready }) => ready.length).concat(values.map((each, i) => Number(isRight(each, i + 1)))).concat(error as never))
      `,
    )
    await driver.printed(/READY/)
    process.kill(other.pid, 'SIGKILL')
    assert.deepEqual(await saidBy(driver), [2, 1, 1, 1, 1, 'ObjectLostError'])
  })

  test('get waits for them no longer than it may', async () => {
    await using mesh = await startLocalMesh({ nodes: 2 })
    const [home, other] = mesh.nodes as [LocalNode, LocalNode]
    await using driver = program(
      home,
      other,
      `
      const [late, ended, over] = [make.remote(1), make.remote(2), make.remote(3)]
      await wait([late, ended, over], { count: 3, fetchLocal: false })
      console.log('READY')
      await new Promise((resolve) => process.stdin.once('data', resolve))
      process.stdin.destroy()
      const name = (error: Error) => error.name + ' ' + error.message
      const abort = new AbortController()
      const waits = [
        get(late, { timeoutMs: 100 }).catch(name),
        get(ended, { signal: abort.signal }).catch(name),
        get([over], { signal: AbortSignal.abort(new Error('enough')) }).catch(name),
      ]
      await waits[0]
      abort.abort(new Error('enough'))
      const errors = await Promise.all(waits)
      console.log('LATE')
      say([...errors, isRight(await get(late), 1), isRight(await get(ended, { timeoutMs: 60_000 }), 2)])
      `,
    )
    await driver.printed(/READY/)
    process.kill(other.pid, 'SIGSTOP')
    driver.write('stopped\n')
    await driver.printed(/LATE/)
    process.kill(other.pid, 'SIGCONT')
    const late = 'GetTimeoutError the value is not there after 100 ms; the tasks go on'
    assert.deepEqual(await saidBy(driver), [late, 'Error enough', 'Error enough', true, true])
  })

  test('gets on although nobody waits for long, and lets the program end', async () => {
    await using mesh = await startLocalMesh({ nodes: 2 })
    const [home, other] = mesh.nodes as [LocalNode, LocalNode]
    await using driver = program(
      home,
      other,
      `
      const refs = [make.remote(1), make.remote(2), put(new Float64Array(100_000))]
      await wait(refs, { count: 3, fetchLocal: false })
      const atOnce = await wait(refs)
      await wait(refs, { count: 3, signal: AbortSignal.abort(new Error('enough')) }).catch(() => undefined)
      let polls = 0
      for (let ready = 0; ready < 3; polls++) {
        ready = (await wait(refs, { count: 3, timeoutMs: 0 })).ready.length
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      const more = make.remote(4)
      await wait([more], { fetchLocal: false })
      const cut = await wait([more], { timeoutMs: 0 })
      say([atOnce.ready[0] === refs[2], cut.ready.length, isRight(await get(refs[1] as never), 2)])
      `,
    )
    assert.deepEqual(await saidBy(driver), [true, 0, true])
  })
})
