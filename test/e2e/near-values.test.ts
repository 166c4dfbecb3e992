import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { NodeClient } from '../../node/cli/node-client.ts'
import { startLocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import type { TransferFigures } from '../../node/transfer/transfers.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { settled } from '../support/mesh-view.ts'
import { canMakeNetworks, NetworkLab, type LabMachine } from '../support/network-lab.ts'

const bytes = 8_000_000

async function figures(socketPath: string): Promise<TransferFigures> {
  const client = await NodeClient.connect(socketPath)
  try {
    const { traffic } = await client.status()
    assert.ok(traffic !== undefined)
    return traffic.transfers
  } finally {
    client.close()
  }
}

/** Puts a value at one node and has another one read it; what came to that one, and how. */
async function send(runtimeDirectory: string, to: { nodeId: string; socketPath: string }): Promise<TransferFigures> {
  await using driver = new DriverProgram(
    `
    import { init, remote, get, put } from 'SDK'
    await init()
    const value = Uint8Array.from({ length: ${bytes} }, (_, i) => i % 251)
    const check = remote((found: Uint8Array) => found.length === ${bytes} && found.every((x, i) => x === i % 251), {
      schedulingStrategy: { nodeId: ${JSON.stringify(to.nodeId)} },
    })
    console.log('RIGHT ' + (await get(check.remote(put(value)))))
    `,
    { SHOAL_RUNTIME_DIR: runtimeDirectory },
  )
  const { stdout, stderr } = await driver.ended()
  assert.match(stdout, /RIGHT true/, stderr)
  return figures(to.socketPath)
}

describe('values of other nodes of this machine', { timeout: 120_000 }, () => {
  test('are read from their memory', async () => {
    await using mesh = await startLocalMesh({ nodes: 2 })
    const [home, other] = mesh.nodes as [LocalNode, LocalNode]
    const { bytesIn, bytesInNear } = await send(home.runtimeDirectory, other)
    assert.ok(bytesIn > bytes)
    assert.equal(bytesInNear, bytesIn)
    assert.equal((await figures(home.socketPath)).bytesOut, 0)
  })

  test('come over the network when the nodes are told so', async () => {
    await using mesh = await startLocalMesh({ nodes: 2, options: { handOver: false } })
    const [home, other] = mesh.nodes as [LocalNode, LocalNode]
    const { bytesIn, bytesInNear } = await send(home.runtimeDirectory, other)
    assert.equal(bytesInNear, 0)
    assert.equal((await figures(home.socketPath)).bytesOut, bytesIn)
  })

  test(
    'come over the network when each has a network of its own',
    { skip: canMakeNetworks() ? false : 'needs the right to make network namespaces' },
    async () => {
      await using lab = new NetworkLab('a', 'b')
      const [a, b] = lab.machines as [LabMachine, LabMachine]
      const { joinToken, socketPath } = await a.up()
      const to = await b.up({}, joinToken)
      await settled([a, b])
      const { bytesIn, bytesInNear } = await send(a.runtimeDirectory, to)
      assert.equal(bytesInNear, 0)
      assert.equal((await figures(socketPath)).bytesOut, bytesIn)
    },
  )

  test('are copies once views would fill the store; what finds no room says why, also when the time is up', async () => {
    const megabyte = 1_000_000
    const storeBytesMax = 8 * megabyte
    await using mesh = await startLocalMesh({
      nodes: 2,
      options: (index) => ({ storeBytesMax: index === 0 ? storeBytesMax : 100 * megabyte }),
    })
    const [home, other] = mesh.nodes as [LocalNode, LocalNode]
    await using driver = new DriverProgram(
      `
      import { init, remote, get, put, release, wait } from 'SDK'
      await init()
      const make = remote((seed: number, bytes: number) => new Uint8Array(bytes).fill(seed), {
        schedulingStrategy: { nodeId: ${JSON.stringify(other.nodeId)} },
      })
      const refs = [1, 2, 3, 4, 5, 6].map((seed) => make.remote(seed, 3e6))
      await wait(refs, { count: 6, fetchLocal: false })
      const isRight = (value: Uint8Array, i: number) => value.length === 3e6 && value.every((x) => x === i + 1)
      const kept = await get(refs)
      const one: Uint8Array[] = []
      for (const ref of refs) one.push(await get(ref))
      console.log('RIGHT ' + (kept.every(isRight) && one.every(isRight)))
      for (const value of [...kept, ...one]) release(value)
      const tell = ({ name, message, retryable, cause }) =>
        console.log('ERROR ' + JSON.stringify([name, message, retryable, cause?.name, cause?.message]))
      await get(make.remote(7, 40e6)).catch(tell)
      const view = await get(put(new Uint8Array(7.5e6)))
      const seventh = make.remote(7, 3e6)
      await wait([seventh], { fetchLocal: false })
      await get(seventh, { timeoutMs: 300 }).catch(tell)
      console.log('KEPT ' + view.length)
      release(view)
      console.log('CAME ' + (await get(seventh)).every((x) => x === 7))
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    const { stdout, stderr } = await driver.ended()
    assert.match(stdout, /RIGHT true/, stderr)
    const [tooLarge, late] = Array.from(
      stdout.matchAll(/ERROR (.*)/g),
      ([, line]) => JSON.parse(line as string) as [string, string, boolean, string | null, string],
    )
    assert.deepEqual([tooLarge?.[0], tooLarge?.[2]], ['ObjectStoreFullError', false])
    assert.match(tooLarge?.[1] ?? '', /larger than this node's whole object store \(8000000 bytes\)/)
    assert.deepEqual([late?.[0], late?.[3]], ['GetTimeoutError', 'ObjectStoreFullError'])
    assert.match(late?.[4] ?? '', /750\d{4} of them are being looked at by programs\): release\(\) what/)
    assert.match(stdout, /CAME true/, stderr)
  })

  test('are right, or made again, when the node that has them is killed while they are read', async () => {
    await using mesh = await startLocalMesh({ nodes: 3 })
    const [home, second] = mesh.nodes as [LocalNode, LocalNode, LocalNode]
    await using driver = new DriverProgram(
      `
      import { init, remote, get, wait } from 'SDK'
      await init()
      const length = 16_000_000
      const make = remote((seed: number) => Float64Array.from({ length }, (_, i) => i * seed), {
        schedulingStrategy: { nodeId: ${JSON.stringify(second.nodeId)}, soft: true },
      })
      const ref = make.remote(3)
      await wait([ref], { fetchLocal: false })
      console.log('MADE')
      const found = await get(ref)
      console.log('RIGHT ' + (found.length === length && found.every((x, i) => x === i * 3)))
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    await driver.printed(/MADE/)
    const isRead = driver.printed(/RIGHT \w+/)
    // In the middle of it, if this is not too slow for that.
    for (;;) {
      const { pulling, pullsDone } = await figures(home.socketPath)
      if (pullsDone > 0 || pulling.some(({ bytesHere }) => bytesHere > 0)) break
      await delay(1)
    }
    process.kill(second.pid, 'SIGKILL')
    assert.match((await isRead)[0], /RIGHT true/)
  })
})
