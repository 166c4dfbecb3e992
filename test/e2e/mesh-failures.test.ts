import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { DriverProgram } from '../support/driver-program.ts'
import { nodesSeenBy, settled } from '../support/mesh-view.ts'
import { canMakeNetworks, NetworkLab, type LabMachine } from '../support/network-lab.ts'

const options = { skip: canMakeNetworks() ? false : 'needs the right to make network namespaces' }

async function meshOf(lab: NetworkLab): Promise<{ head: LabMachine; others: LabMachine[] }> {
  const [first, ...rest] = lab.machines as [LabMachine, ...LabMachine[]]
  const { joinToken } = await first.up()
  await Promise.all(rest.map((machine) => machine.up({}, joinToken)))
  const id = await settled(lab.machines)
  const head = lab.machines.find(({ ready }) => ready?.nodeId === id)
  assert.ok(head !== undefined)
  return { head, others: lab.machines.filter((machine) => machine !== head) }
}

/** A program of 2,000 tasks, each of which notes on disk that it has begun; and of long ones, which tell their pid. */
function work({ runtimeDirectory, directory }: LabMachine, count = 2000): DriverProgram {
  return new DriverProgram(
    `
    import { appendFileSync } from 'node:fs'
    import { init, remote, get } from 'SDK'
    await init()
    const journal = ${JSON.stringify(`${directory}/journal`)}
    const once = remote(async (i: number) => {
      appendFileSync(journal, i + '\\n')
      await new Promise((resolve) => setTimeout(resolve, 10))
      return i * 2
    }, { schedulingStrategy: 'spread', maxRetries: 2 })
    const results = Array.from({ length: ${count} }, (_, i) => once.remote(i))
    await get(results[100])
    console.log('UNDER WAY')
    const values = await get(results)
    console.log('RESULT ' + values.every((value, i) => value === i * 2))
    `,
    { SHOAL_RUNTIME_DIR: runtimeDirectory },
  )
}

function assertTries(journal: string, triesMax: number): void {
  const counts = new Map<string, number>()
  for (const line of journal.split('\n')) if (line !== '') counts.set(line, (counts.get(line) ?? 0) + 1)
  const most = Math.max(...counts.values())
  assert.ok(most <= triesMax, `a task ran ${most} times`)
}

/** The pids of the workers that hold leases, by node. */
async function leasesAt(machine: LabMachine): Promise<number> {
  const self = (await nodesSeenBy(machine)).find(({ isSelf }) => isSelf)
  return self?.leases ?? -1
}

describe('when machines fail', options, () => {
  test('kill -9 of the head in the middle of work: every result is right, and another is head', async () => {
    await using lab = new NetworkLab('a', 'b', 'c')
    const { head, others } = await meshOf(lab)
    const [driverAt] = others as [LabMachine, ...LabMachine[]]
    await using driver = work(driverAt)
    await driver.printed(/UNDER WAY/)
    await head.down('SIGKILL')
    const { stdout, stderr } = await driver.ended()
    assert.match(stdout, /RESULT true/, stderr)
    const { readFileSync } = await import('node:fs')
    assertTries(readFileSync(`${driverAt.directory}/journal`, 'utf8'), 3)
    await settled(others)
    for (const machine of others) assert.equal(await leasesAt(machine), 0)
  })

  test('a head that stops for 5 s and goes on: one head afterwards, every result right', async () => {
    await using lab = new NetworkLab('a', 'b', 'c')
    const { head, others } = await meshOf(lab)
    const [driverAt] = others as [LabMachine, ...LabMachine[]]
    await using driver = work(driverAt)
    await driver.printed(/UNDER WAY/)
    head.child?.kill('SIGSTOP')
    await delay(5000)
    const between = await settledHead(others)
    assert.notEqual(between, head.ready?.nodeId)
    head.child?.kill('SIGCONT')
    const { stdout, stderr } = await driver.ended()
    assert.match(stdout, /RESULT true/, stderr)
    assert.equal(await settled(lab.machines), between)
  })

  test('a cut network for 10 s: each side works on, one head after it', async () => {
    await using lab = new NetworkLab('a', 'b', 'c')
    const { head, others } = await meshOf(lab)
    const [b, c] = others as [LabMachine, LabMachine]
    head.setCable(false)
    await using alone = work(head, 300)
    await using together = work(b, 300)
    await delay(10_000)
    const between = await settledHead([b, c])
    assert.notEqual(between, head.ready?.nodeId)
    assert.equal(await settledHead([head]), head.ready?.nodeId)
    head.setCable(true)
    for (const driver of [alone, together]) {
      const { stdout, stderr } = await driver.ended()
      assert.match(stdout, /RESULT true/, stderr)
    }
    assert.equal(await settled(lab.machines), between)
  })
})

/** The head that all of these nodes follow. */
async function settledHead(machines: readonly LabMachine[]): Promise<string | undefined> {
  for (let i = 0; i < 200; i++) {
    const views = await Promise.all(machines.map(nodesSeenBy))
    const heads = new Set(views.map((nodes) => nodes.find(({ isHead }) => isHead)?.id))
    const [head] = heads
    if (heads.size === 1 && head !== undefined) return head
    await delay(50)
  }
  return undefined
}
