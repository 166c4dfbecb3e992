import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { ActorOperator } from '../support/actor-operator.ts'
import { ask, settled } from '../support/mesh-view.ts'
import { canMakeNetworks, NetworkLab, type LabMachine } from '../support/network-lab.ts'

const options = { skip: canMakeNetworks() ? false : 'needs the right to make network namespaces', timeout: 180_000 }
const callers = 25

interface Side {
  readonly machines: LabMachine[]
  readonly operators: ActorOperator[]
}

async function meshOf(lab: NetworkLab): Promise<string> {
  const [first, ...rest] = lab.machines as [LabMachine, ...LabMachine[]]
  const { joinToken } = await first.up()
  await Promise.all(rest.map((machine) => machine.up({}, joinToken)))
  return settled(lab.machines)
}

/** Cuts the network in two: the head and one more are on one side. Resolves when each side has a head. */
async function cut(lab: NetworkLab, head: string): Promise<[LabMachine[], LabMachine[]]> {
  const others = lab.machines.filter(({ ready }) => ready?.nodeId !== head)
  const far = others.slice(1)
  const near = lab.machines.filter((machine) => !far.includes(machine))
  for (const machine of far) machine.setApart(true)
  await Promise.all([settled(near), settled(far)])
  return [near, far]
}

async function mend(lab: NetworkLab): Promise<void> {
  for (const machine of lab.machines) machine.setApart(false)
  await settled(lab.machines, 60_000)
}

/** The process that all who ask for the name find, on whatever machine; waits until there is one. */
async function foundBy(operators: readonly ActorOperator[], name: string): Promise<number> {
  for (;;) {
    const found = new Set(await Promise.all(operators.map((operator) => operator.ask('find', name))))
    const [pid] = found
    if (found.size === 1 && typeof pid === 'number') return pid
    await delay(50)
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Waits until it is gone; the test's time limit ends a vain wait. */
async function ended(pid: number): Promise<void> {
  while (isAlive(pid)) await delay(50)
}

/** The actors of a name that `shoal actors` lists. */
async function listed(machine: LabMachine, name: string): Promise<number> {
  const answers = await ask(machine, 'actors', {})
  return answers.flatMap(({ value }) => value?.actors ?? []).filter(({ actorName }) => actorName === name).length
}

describe('names when the network is cut', options, () => {
  test('each side gives a name once; when it is whole again one actor keeps it, and the other ends and says why', async () => {
    await using lab = new NetworkLab('a', 'b', 'c', 'd', 'e')
    const head = await meshOf(lab)
    await using stack = new AsyncDisposableStack()
    const sides: Side[] = []
    for (const machines of await cut(lab, head)) {
      // Of the nodes of a side two have callers.
      const operators = machines.slice(0, 2).map((machine) => stack.use(new ActorOperator(machine)))
      await Promise.all(operators.map((operator) => operator.ready()))
      sides.push({ machines, operators })
    }
    const names = { detached: { lifetime: 'detached', maxRestarts: 2 }, owned: {} }

    const made = new Map<string, number[]>()
    for (const [name, more] of Object.entries(names)) {
      const pids = await Promise.all(
        sides.map(async ({ operators }) => {
          const got = await Promise.all(
            operators.map((operator) => operator.ask('race', name, callers, { ...more, getIfExists: true })),
          )
          const [pid, ...others] = new Set(got.flat())
          assert.equal(typeof pid, 'number', JSON.stringify(got))
          assert.deepEqual(others, [])
          // Who has to have one of its own gets none.
          const [first] = operators as [ActorOperator]
          assert.deepEqual(await first.ask('race', name, callers, more), ['ACTOR_NAME_TAKEN'])
          assert.equal(await first.ask('find', name), pid)
          return pid as number
        }),
      )
      assert.equal(new Set(pids).size, 2)
      made.set(name, pids)
    }

    // The name goes to the one to which it was given in the lower term.
    const terms = await Promise.all(
      sides.map(async ({ machines: [machine] }) => (await ask(machine as LabMachine, 'meshInfo', {})).term ?? 0),
    )
    assert.notEqual(terms[0], terms[1])
    const kept = (terms[0] as number) < (terms[1] as number) ? 0 : 1
    const lost = sides[1 - kept] as Side
    const [winner] = (sides[kept] as Side).operators as [ActorOperator]
    const [loser] = lost.operators as [ActorOperator]

    await mend(lab)
    for (const [name, pids] of made) {
      await ended(pids[1 - kept] as number)
      assert.ok(isAlive(pids[kept] as number))
      // A handle of the one that has ended says why, and that of the one that stays goes on.
      const { error, text } = (await loser.ask('call', name, 'add')) as { error: string; text: string }
      assert.equal(error, 'ACTOR_DIED')
      assert.match(text, /its name belongs to .*were apart/)
      assert.equal(await winner.ask('call', name, 'add'), 1)
      assert.equal(
        await foundBy(
          sides.flatMap(({ operators }) => operators),
          name,
        ),
        pids[kept],
      )
      assert.equal(await loser.ask('call', name, 'add'), 2)
      for (const machine of lab.machines) assert.equal(await listed(machine, name), 1)
    }
  })

  test('a detached actor that is taken for gone is started on the other side; the one that was there before stays', async () => {
    await using lab = new NetworkLab('a', 'b', 'c', 'd', 'e')
    const head = await meshOf(lab)
    const far = lab.machines.filter(({ ready }) => ready?.nodeId !== head).slice(1)
    const [home] = far as [LabMachine]
    const [away] = lab.machines.filter((machine) => !far.includes(machine)) as [LabMachine]
    await using here = await new ActorOperator(home).ready()
    await using there = await new ActorOperator(away).ready()
    const schedulingStrategy = { nodeId: home.ready?.nodeId, soft: true }
    const first = await here.ask('make', 'store', { lifetime: 'detached', maxRestarts: -1, schedulingStrategy })
    assert.equal(typeof first, 'number', JSON.stringify(first))
    assert.equal(await here.ask('call', 'store', 'add'), 1)
    assert.equal(await there.ask('find', 'store'), first)

    const sides = await cut(lab, head)
    assert.ok(sides[1].includes(home))
    // What was there before is there on its side, with its state. On the other there is one like it, or there is none.
    assert.equal(await foundBy([here], 'store'), first)
    assert.equal(await here.ask('call', 'store', 'add'), 2)
    const twin = await there.ask('find', 'store')
    if (typeof twin === 'number') assert.notEqual(twin, first)

    await mend(lab)
    if (typeof twin === 'number') await ended(twin)
    assert.equal(await foundBy([here, there], 'store'), first)
    assert.equal(await there.ask('call', 'store', 'add'), 3)
    for (const machine of lab.machines) assert.equal(await listed(machine, 'store'), 1)
  })
})
