import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { until } from '../support/daemon-process.ts'
import { DriverProgram } from '../support/driver-program.ts'
import { ask, nodesSeenBy, settled } from '../support/mesh-view.ts'
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

/**
 * A program of 2,000 tasks, each of which notes on disk that it has begun; and of one long one on each of some nodes, which
 * goes on until it is let go.
 */
function work({ runtimeDirectory, directory }: LabMachine, count = 2000, longAt: LabMachine[] = []): DriverProgram {
  return new DriverProgram(
    `
    import { appendFileSync, existsSync } from 'node:fs'
    import { init, remote, get } from 'SDK'
    await init()
    const journal = ${JSON.stringify(`${directory}/journal`)}
    const once = remote(async (i: number) => {
      appendFileSync(journal, i + '\\n')
      await new Promise((resolve) => setTimeout(resolve, 10))
      return i * 2
    }, { schedulingStrategy: 'spread', maxRetries: 2 })
    const long = remote(async (node: string) => {
      appendFileSync(journal, 'long ' + node + ' pid ' + process.pid + '\\n')
      while (!existsSync(journal + '.enough')) await new Promise((resolve) => setTimeout(resolve, 20))
      return process.pid
    }, { numCpus: 1, maxRetries: 2 })
    const longOnes = ${JSON.stringify(longAt.map(({ ready }) => ready?.nodeId))}
      .map((nodeId: string) => [nodeId, long.options({ schedulingStrategy: { nodeId } }).remote(nodeId)] as const)
    const results = Array.from({ length: ${count} }, (_, i) => once.remote(i))
    await get(results[100])
    console.log('UNDER WAY')
    const values = await get(results)
    console.log('SHORT ONES DONE')
    for (const [node, ref] of longOnes) console.log('ENDED long ' + node + ' pid ' + await get(ref))
    console.log('RESULT ' + values.every((value, i) => value === i * 2))
    `,
    { SHOAL_RUNTIME_DIR: runtimeDirectory },
  )
}

function journalOf({ directory }: LabMachine): string {
  return readFileSync(`${directory}/journal`, 'utf8')
}

/** Waits until the long tasks run. */
async function begun(machine: LabMachine, longAt: readonly LabMachine[]): Promise<void> {
  const at = `${machine.directory}/journal`
  for (const { ready } of longAt) {
    await until('a long task runs', () => existsSync(at) && journalOf(machine).includes(`long ${ready?.nodeId}`))
  }
}

/** Lets the long tasks end. */
function letGo({ directory }: LabMachine): void {
  writeFileSync(`${directory}/journal.enough`, '')
}

/** Every long task has begun once, and ended in the worker in which it began. */
function assertUndisturbed(journal: string, stdout: string, longAt: readonly LabMachine[]): void {
  const begins = journal.split('\n').filter((line) => line.startsWith('long '))
  const ends = stdout.split('\n').flatMap((line) => /^ENDED (long .*)/.exec(line)?.[1] ?? [])
  assert.deepEqual(begins.toSorted(), ends.toSorted())
  assert.equal(begins.length, longAt.length)
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
    await using driver = work(driverAt, 2000, others)
    await driver.printed(/UNDER WAY/)
    await begun(driverAt, others)
    await head.down('SIGKILL')
    await driver.printed(/SHORT ONES DONE/)
    await settled(others)
    letGo(driverAt)
    const { stdout, stderr } = await driver.ended()
    assert.match(stdout, /RESULT true/, stderr)
    assertTries(journalOf(driverAt), 3)
    assertUndisturbed(journalOf(driverAt), stdout, others)
    for (const machine of others) assert.equal(await leasesAt(machine), 0)
  })

  test('a head that stops for 5 s and goes on: one head afterwards, every result right', async () => {
    await using lab = new NetworkLab('a', 'b', 'c')
    const { head, others } = await meshOf(lab)
    const [driverAt] = others as [LabMachine, ...LabMachine[]]
    await using driver = work(driverAt, 2000, others)
    await driver.printed(/UNDER WAY/)
    await begun(driverAt, others)
    head.child?.kill('SIGSTOP')
    await delay(5000)
    const between = await settledHead(others)
    assert.notEqual(between, head.ready?.nodeId)
    head.child?.kill('SIGCONT')
    await driver.printed(/SHORT ONES DONE/)
    assert.equal(await settled(lab.machines), between)
    letGo(driverAt)
    const { stdout, stderr } = await driver.ended()
    assert.match(stdout, /RESULT true/, stderr)
    assertUndisturbed(journalOf(driverAt), stdout, others)
  })

  test('a link to the head that breaks for a moment: the node gets work from the head again', async (t) => {
    await using lab = new NetworkLab('a', 'b', 'c')
    const { head, others } = await meshOf(lab)
    const [node] = others as [LabMachine, ...LabMachine[]]
    if (!head.breakConnections(node)) {
      t.skip('needs a system that can end the connections of others')
      return
    }
    const linksUp = async (): Promise<number> => {
      const answers = await ask(head, 'events', { from: {}, limit: 1000 })
      const events = answers.flatMap(({ value }) => value?.events ?? [])
      return events.filter(({ text, about }) => text.startsWith('linked') && about === node.ready?.nodeId).length
    }
    while ((await linksUp()) < 2) await delay(50)
    await settled(lab.machines)
    await using driver = new DriverProgram(
      `
      import { init, remote, get } from 'SDK'
      await init()
      const schedulingStrategy = { nodeId: ${JSON.stringify(node.ready?.nodeId)} }
      console.log('RESULT', await get(remote(() => 'there', { schedulingStrategy }).remote()))
      `,
      { SHOAL_RUNTIME_DIR: head.runtimeDirectory },
    )
    const { stdout, stderr } = await driver.ended()
    assert.match(stdout, /RESULT there/, stderr)
  })

  test('a cut network for 10 s: each side works on, one head after it', async () => {
    await using lab = new NetworkLab('a', 'b', 'c')
    const { head, others } = await meshOf(lab)
    const [b, c] = others as [LabMachine, LabMachine]
    head.setCable(false)
    await using alone = work(head, 300, [head])
    await using together = work(b, 300, [b, c])
    await delay(10_000)
    const between = await settledHead([b, c])
    assert.notEqual(between, head.ready?.nodeId)
    assert.equal(await settledHead([head]), head.ready?.nodeId)
    head.setCable(true)
    assert.equal(await settled(lab.machines), between)
    for (const [driver, machine, longAt] of [
      [alone, head, [head]],
      [together, b, [b, c]],
    ] as const) {
      letGo(machine)
      const { stdout, stderr } = await driver.ended()
      assert.match(stdout, /RESULT true/, stderr)
      assertUndisturbed(journalOf(machine), stdout, longAt)
    }
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
