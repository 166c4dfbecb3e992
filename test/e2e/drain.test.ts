import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { DrainReport, NodeReport } from '../../protocols/admin.ts'
import { startLocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { shoal, startCommand } from '../support/command-line.ts'
import { DriverProgram } from '../support/driver-program.ts'

/** Of two nodes. */
async function headAndOther(nodes: readonly LocalNode[]): Promise<[LocalNode, LocalNode]> {
  const { runtimeDirectory } = nodes[0] as LocalNode
  for (;;) {
    const { stdout } = await shoal(runtimeDirectory, 'nodes', '--json')
    const head = (JSON.parse(stdout) as NodeReport[]).find(({ isHead }) => isHead)?.id
    const sorted = nodes.toSorted((a, b) => Number(b.nodeId === head) - Number(a.nodeId === head))
    if (head !== undefined) return sorted as [LocalNode, LocalNode]
    await delay(50)
  }
}

describe('shoal drain', { timeout: 180_000 }, () => {
  test('a node gives away its work and its values, and stopping it loses nothing', async () => {
    await using mesh = await startLocalMesh({ nodes: 3 })
    const [home, leaving] = mesh.nodes as [LocalNode, LocalNode, LocalNode]
    const go = path.join(mesh.directory, 'go')
    await using driver = new DriverProgram(
      `
      import { existsSync } from 'node:fs'
      import { init, remote, get, wait, taskContext } from 'SDK'
      await init()
      const until = async (file: string) => { while (!existsSync(file)) await new Promise((r) => setTimeout(r, 20)) }
      const there = { schedulingStrategy: { nodeId: '${leaving.nodeId}' }, maxRetries: 0 } as const
      const make = remote((seed: number) => Float64Array.from({ length: 250_000 }, (_, i) => i * seed), there)
      const hold = remote(async () => { await until(${JSON.stringify(go)}); return taskContext().nodeId }, there)
      const values = Array.from({ length: 8 }, (_, i) => make.remote(i + 1))
      await wait(values, { count: 8, fetchLocal: false })
      const held = hold.remote()
      console.log('HELD')
      const heldAt = await get(held)
      console.log('RELEASED')
      await until(${JSON.stringify(go)} + '2')
      const where = remote(() => taskContext().nodeId, { schedulingStrategy: 'spread' })
      const nodes = new Set(await get(Array.from({ length: 60 }, () => where.remote())))
      console.log('SPREAD ' + JSON.stringify([...nodes]))
      await until(${JSON.stringify(go)} + '3')
      const sum = remote((data: Float64Array) => data.length)
      const lengths = await get(values.map((value) => sum.remote(value)))
      const isRight = (await get(values)).every((value, at) => value[1000] === (at + 1) * 1000)
      console.log('RESULT ' + JSON.stringify({ lengths, isRight, heldAt }))
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    await driver.printed(/HELD/)
    // It is known to run when it is listed there.
    for (;;) {
      const { stdout } = await shoal(home.runtimeDirectory, 'tasks', 'hold')
      if (stdout.includes('running')) break
      await delay(50)
    }
    const late = await shoal(home.runtimeDirectory, 'drain', leaving.nodeId, '--deadline', '0.5')
    assert.equal(late.code, 1)
    assert.match(late.stderr, /not drained by its deadline: 1 worker still in use \((hold|make)\)/)
    const drain = startCommand(home.runtimeDirectory, 'drain', leaving.nodeId, '--json')
    writeFileSync(go, '')
    const { code, stdout, stderr } = await drain.result
    assert.equal(code, 0, stderr)
    const report = JSON.parse(stdout) as DrainReport
    assert.deepEqual(
      [report.state, report.moved.values, report.stuck.values, report.running.length],
      ['drained', 8, 0, 0],
    )
    await driver.printed(/RELEASED/)
    const nodes = JSON.parse((await shoal(home.runtimeDirectory, 'nodes', '--json')).stdout) as NodeReport[]
    assert.equal(nodes.find(({ id }) => id === leaving.nodeId)?.isOpen, false)
    writeFileSync(`${go}2`, '')
    await driver.printed(/SPREAD/)
    const down = await shoal(leaving.runtimeDirectory, 'down')
    assert.equal(down.code, 0, down.stderr)
    writeFileSync(`${go}3`, '')
    const ended = await driver.ended()
    assert.equal(ended.code, 0, ended.stderr)
    const used = JSON.parse(/SPREAD (.*)/.exec(ended.stdout)?.[1] ?? '[]') as string[]
    assert.ok(used.length > 0 && !used.includes(leaving.nodeId))
    assert.deepEqual(JSON.parse(/RESULT (.*)/.exec(ended.stdout)?.[1] ?? '0'), {
      lengths: Array.from({ length: 8 }, () => 250_000),
      isRight: true,
      heldAt: leaving.nodeId,
    })
  })

  test('by force its work goes on elsewhere; undone, it takes work again', async () => {
    await using mesh = await startLocalMesh({ nodes: 2 })
    // The head, which has to hear of itself what others tell it of them.
    const [leaving, home] = await headAndOther(mesh.nodes)
    const go = path.join(mesh.directory, 'go')
    await using driver = new DriverProgram(
      `
      import { existsSync } from 'node:fs'
      import { init, remote, get, taskContext } from 'SDK'
      await init()
      const until = async (file: string) => { while (!existsSync(file)) await new Promise((r) => setTimeout(r, 20)) }
      const soft = { schedulingStrategy: { nodeId: '${leaving.nodeId}', soft: true } } as const
      const hold = remote(async () => {
        console.log('AT ' + taskContext().nodeId)
        if (taskContext().attempt === 0) await until(${JSON.stringify(go)})
        return taskContext().nodeId
      }, soft)
      console.log('RESULT ' + (await get(hold.remote())))
      await until(${JSON.stringify(go)} + '2')
      const where = remote(() => taskContext().nodeId, { schedulingStrategy: { nodeId: '${leaving.nodeId}' } })
      console.log('AGAIN ' + (await get(where.remote())))
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    await driver.printed(new RegExp(`AT ${leaving.nodeId}`))
    const drained = await shoal(home.runtimeDirectory, 'drain', leaving.nodeId, '--force')
    assert.equal(drained.code, 0, drained.stderr)
    assert.match(drained.stdout, /is drained: `shoal down` there stops it/)
    await driver.printed(new RegExp(`RESULT ${home.nodeId}`))
    // A program that is attached to it has its tasks run elsewhere.
    await using guest = new DriverProgram(
      `
      import { init, remote, get, taskContext } from 'SDK'
      await init()
      const where = remote(() => taskContext().nodeId)
      console.log('GUEST ' + (await get(where.remote())))
      `,
      { SHOAL_RUNTIME_DIR: leaving.runtimeDirectory },
    )
    await guest.printed(new RegExp(`GUEST ${home.nodeId}`))
    await guest.ended()
    const undone = await shoal(home.runtimeDirectory, 'drain', leaving.nodeId, '--undo')
    assert.equal(undone.code, 0, undone.stderr)
    assert.match(undone.stdout, /takes work\./)
    writeFileSync(`${go}2`, '')
    await driver.printed(new RegExp(`AGAIN ${leaving.nodeId}`))
    await driver.ended()
  })
})
