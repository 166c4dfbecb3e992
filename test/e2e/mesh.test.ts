import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { DriverProgram } from '../support/driver-program.ts'
import { canMakeNetworks, NetworkLab, type LabMachine } from '../support/network-lab.ts'
import { nodesSeenBy, settled } from '../support/mesh-view.ts'

const options = { skip: canMakeNetworks() ? false : 'needs the right to make network namespaces' }

/** Attaches to the node of a machine. */
function program(machine: LabMachine, source: string): DriverProgram {
  return new DriverProgram(`import { init, remote, get, put, wait, nodes, taskContext } from 'SDK'\n${source}`, {
    SHOAL_RUNTIME_DIR: machine.runtimeDirectory,
  })
}

async function threeMachines(lab: NetworkLab): Promise<[LabMachine, LabMachine, LabMachine]> {
  const [a, b, c] = lab.machines as [LabMachine, LabMachine, LabMachine]
  const { joinToken } = await a.up()
  await Promise.all([b.up({}, joinToken), c.up({}, joinToken)])
  await settled([a, b, c])
  return [a, b, c]
}

describe('three machines on a network', options, () => {
  test('join by token, and run tasks spread over all', async () => {
    await using lab = new NetworkLab('a', 'b', 'c')
    const [a, b, c] = await threeMachines(lab)
    await using driver = program(
      b,
      `
      await init()
      const where = remote((i: number) => ({ i, node: taskContext().nodeId }), { schedulingStrategy: 'spread' })
      const results = await get(Array.from({ length: 1000 }, (_, i) => where.remote(i)))
      const counts: Record<string, number> = {}
      for (const { node } of results) counts[node] = (counts[node] ?? 0) + 1
      console.log('RESULT ' + JSON.stringify({ right: results.every(({ i }, at) => i === at), counts }))
      `,
    )
    const { stdout, stderr, code } = await driver.ended()
    assert.equal(code, 0, stderr)
    const { right, counts } = JSON.parse(/RESULT (.*)/.exec(stdout)?.[1] ?? '{}') as {
      right: boolean
      counts: Record<string, number>
    }
    assert.equal(right, true)
    const ids = [a, b, c].map(({ ready }) => ready?.nodeId ?? '')
    assert.deepEqual(Object.keys(counts).toSorted(), ids.toSorted())
    for (const count of Object.values(counts)) assert.ok(count >= 8, JSON.stringify(counts))
  })

  test('large values and shipped code cross, and what they print comes home', async () => {
    await using lab = new NetworkLab('a', 'b', 'c')
    const [a, b] = await threeMachines(lab)
    await using driver = program(
      a,
      `
      await init()
      const onB = { schedulingStrategy: { nodeId: ${JSON.stringify(b.ready?.nodeId)} } } as const
      const big = put(new Float64Array(300_000).fill(0.5))
      const sum = remote((values: Float64Array) => { console.log('summing'); return values.reduce((a, b) => a + b, 0) }, onB)
      const double = remote((values: Float64Array) => values.map((x) => x * 2), onB)
      const doubled = double.remote(big)
      console.log('RESULT ' + JSON.stringify([await get(sum.remote(big)), (await get(doubled))[299_999], await get(sum.remote(doubled))]))
      `,
    )
    const { stdout, stderr, code } = await driver.ended()
    assert.equal(code, 0, stderr)
    assert.deepEqual(JSON.parse(/RESULT (.*)/.exec(stdout)?.[1] ?? '0'), [150_000, 1, 300_000])
    assert.match(stdout, /summing/)
  })

  test('a member finds the others again by multicast alone', async () => {
    await using lab = new NetworkLab('a', 'b', 'c')
    const [a, b, c] = await threeMachines(lab)
    await c.down()
    rmSync(path.join(c.directory, 'state', 'peers.json'))
    await c.up({ listen: { host: '0.0.0.0', port: 0 } })
    await settled([a, b, c])
    assert.equal((await nodesSeenBy(c)).length, 3)
  })
})
