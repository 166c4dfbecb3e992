import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { before, describe, test } from 'node:test'
import { NodeClient } from '../../node/cli/node-client.ts'
import { startLocalMesh, type LocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { DriverProgram } from '../support/driver-program.ts'

/**
 * A program with tasks that make large values, rather on the victim than elsewhere, and note each run in a journal, with
 * the node. Each of its parts makes something there first, and says what came of it when the victim is gone.
 */
function program({ directory }: LocalMesh, home: LocalNode, victim: LocalNode, source: string): DriverProgram {
  return new DriverProgram(
    `
    import { appendFileSync, existsSync, readFileSync } from 'node:fs'
    import { setFlagsFromString } from 'node:v8'
    import { runInNewContext } from 'node:vm'
    import { init, remote, get, put, wait, cancel, nodes, taskContext } from 'SDK'
    await init()
    const journal = ${JSON.stringify(path.join(directory, 'journal'))}
    const victim = ${JSON.stringify(victim.nodeId)}
    const home = ${JSON.stringify(home.nodeId)}
    const onVictim = { schedulingStrategy: { nodeId: victim, soft: true } }
    const onHome = { schedulingStrategy: { nodeId: home } }
    const length = 100_000
    const note = (name: string) => appendFileSync(journal, name + '@' + taskContext().nodeId + '\\n')
    const make = remote((name: string, seed: number) => {
      note(name)
      return Float64Array.from({ length }, (_, i) => i * seed)
    }, onVictim)
    const sum = remote((name: string, ...all: Float64Array[]) => {
      note(name)
      return all[0].map((_, i) => all.reduce((s, each) => s + each[i], 0))
    }, onVictim)
    const isRight = (values: Float64Array, seed: number) =>
      values.length === length && values.every((x, i) => x === i * seed)
    const there = async (...refs) => void (await wait(refs, { count: refs.length, fetchLocal: false }))
    const until = async (isTrue) => {
      while (!(await isTrue())) await new Promise((r) => setTimeout(r, 10))
    }
    const runsOf = (name: string) => readFileSync(journal, 'utf8').split('\\n').filter((line) => line.startsWith(name + '@')).length
    /** Lets go of what nothing refers to. */
    async function collect(): Promise<void> {
      setFlagsFromString('--expose-gc')
      for (let i = 0; i < 3; i++) {
        runInNewContext('gc')()
        await new Promise((r) => setTimeout(r, 20))
      }
    }
    const failure = async (promise) => promise.then(() => 'no error', ({ code, message, details = {} }) => ({ code, message, tries: details.tries }))
    const parts: Record<string, () => Promise<unknown>> = {}
    ${source}
    console.log('READY')
    await until(async () => (await nodes()).every(({ id, linked }) => id !== victim || !linked))
    const said = await Promise.all(Object.entries(parts).map(async ([name, part]) => [name, await part().catch(String)]))
    console.log('RESULT ' + JSON.stringify(Object.fromEntries(said)))
    `,
    { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
  )
}

interface Failure {
  code: string
  message: string
  tries: number
}

interface Outcome {
  said: Record<string, unknown>
  /** Where each task has run, one letter for each run: v for the victim, o for others. */
  runs: Record<string, string>
}

/** Runs the program and kills the victim, the last of the nodes, when it is ready. */
async function outcomeOf(source: string, nodes: number): Promise<Outcome> {
  await using mesh = await startLocalMesh({ nodes, cpus: 2 })
  const home = mesh.nodes[0] as LocalNode
  const victim = mesh.nodes.at(-1) as LocalNode
  await using driver = program(mesh, home, victim, source)
  await driver.printed(/READY/)
  process.kill(victim.pid, 'SIGKILL')
  const { stdout, stderr } = await driver.ended()
  const said = /RESULT (.*)/.exec(stdout)?.[1]
  assert.ok(said !== undefined, `${stdout}\n${stderr}`)
  const runs: Record<string, string> = {}
  for (const line of journalOf(mesh)) {
    const [name, node] = line.split('@') as [string, string]
    runs[name] = (runs[name] ?? '') + (node === victim.nodeId ? 'v' : 'o')
  }
  return { said: JSON.parse(said), runs }
}

const source = `
  {
    const ref = make.remote('one', 3)
    await there(ref)
    parts.one = async () => (await Promise.all([get(ref), get(ref)])).map((value) => isRight(value, 3))
  }
  {
    const a = make.remote('chain a', 1)
    const b = sum.remote('chain b', a, a)
    const c = sum.remote('chain c', b, b)
    await there(a, b, c)
    parts.chain = async () => [isRight(await get(c), 4), isRight(await get(a), 1), isRight(await get(b), 2)]
  }
  {
    const endOfChain = async () => {
      const a = make.remote('freed a', 1)
      const b = sum.remote('freed b', a, a)
      const c = sum.remote('freed c', b, b)
      await there(c)
      return c
    }
    const c = await endOfChain()
    parts.freed = async () => isRight(await get(c), 4)
  }
  {
    const a = make.remote('diamond a', 1)
    const b = sum.remote('diamond b', a, a)
    const c = sum.remote('diamond c', a, a, a)
    const d = sum.remote('diamond d', b, c)
    await there(d)
    parts.diamond = async () => isRight(await get(d), 5)
  }
  {
    const ref = make.options({ maxRetries: 0 }).remote('no retries', 1)
    const made = sum.remote('of no retries', ref)
    await there(ref, made)
    parts.noRetries = async () => Promise.all([failure(get(ref)), failure(get(made))])
  }
  {
    const ref = remote((name) => {
      note(name)
      return [Float64Array.of(1), new Float64Array(length).fill(2), new Float64Array(length).fill(3)]
    }, { ...onVictim, numReturns: 3, maxRetries: 1 }).remote('several')
    await there(...ref)
    parts.several = async () => {
      const second = await get(ref[1])
      const [first, third] = [await get(ref[0]), await get(ref[2])]
      return [first[0], second.at(-1), third.at(-1)]
    }
  }
  {
    const inner = make.remote('given', 7)
    const ref = remote(async (name, [given]) => {
      note(name)
      const own = make.remote('inner of ' + name, 8)
      await wait([own, given], { count: 2, fetchLocal: false })
      return { data: new Float64Array(length).fill(9), own, given }
    }, onVictim).remote('outer', [inner])
    await there(ref)
    parts.nested = async () => {
      const { data, own, given } = await get(ref)
      return [data.at(-1), isRight(await get(own), 8), isRight(await get(given), 7)]
    }
  }
  {
    const ref = remote(async (name) => {
      note(name)
      return { ref: put(new Float64Array(length).fill(9)) }
    }, onVictim).remote('putter')
    await there(ref)
    parts.putInTask = async () => failure(get((await get(ref)).ref))
  }
  {
    const ref = make.remote('borrowed', 5)
    await there(ref)
    const read = remote(async (refs, seed) => isRight(await get(refs[0]), seed), { numCpus: 0, schedulingStrategy: 'spread' })
    parts.borrowers = async () => get([...Array(4).keys()].map(() => read.remote([ref], 5)))
  }
  {
    const ref = make.remote('argument', 5)
    await there(ref)
    const read = remote(async (value, seed) => isRight(value, seed), { numCpus: 0, schedulingStrategy: 'spread' })
    parts.argument = async () => get([...Array(4).keys()].map(() => read.remote(ref, 5)))
  }
  {
    const ref = remote(async (name) => {
      note(name)
      while (taskContext().attempt > 0 && !taskContext().signal.aborted) await new Promise((r) => setTimeout(r, 10))
      return new Float64Array(length)
    }, onVictim).remote('endless')
    const made = sum.remote('of endless', ref)
    await there(ref, made)
    parts.cancelled = async () => {
      const first = failure(get(made))
      await until(() => runsOf('endless') === 2)
      cancel(made)
      const second = failure(get(ref))
      cancel(ref)
      return (await Promise.all([first, second, failure(get(made)), failure(get(ref))])).map(({ code }) => code)
    }
  }
  {
    const ref = remote((name) => {
      note(name)
      if (taskContext().attempt > 0) throw new RangeError('not again')
      return new Float64Array(length)
    }, onVictim).remote('throws later')
    await there(ref)
    parts.throwsLater = async () => failure(get(ref))
  }
  {
    const ref = make.options({ schedulingStrategy: { nodeId: victim } }).remote('only there', 1)
    await there(ref)
    parts.onlyThere = async () => failure(get(ref))
  }
  {
    const owner = remote(async (name) => {
      const ref = make.remote(name, 6)
      await there(ref)
      appendFileSync(journal, 'owner@\\n')
      await until(async () => (await nodes()).every(({ id, linked }) => id !== victim || !linked))
      return isRight(await get(ref), 6)
    }, { ...onHome, numCpus: 0 })
    const ref = owner.remote('owned by task')
    await until(() => runsOf('owner') === 1)
    parts.ownedByTask = () => get(ref)
  }
  {
    const large = new Float64Array(length).fill(4)
    const ref = sum.remote('large argument', large)
    await there(ref)
    parts.largeArgument = async () => (await get(ref)).every((x) => x === 4)
  }
  {
    const count = remote(async function* (name, count) {
      note(name)
      for (let i = 0; i < count; i++) yield new Float64Array(length).fill(i)
    }, onVictim)
    const some = async (stream, length) => {
      const refs = []
      while (refs.length < length) refs.push((await stream.next()).value)
      return refs
    }
    const values = async (refs) => (await get(refs)).map((value) => value.at(-1))
    const whole = count.remote('stream', 4)
    const refs = await some(whole, 4)
    await whole.next()
    parts.stream = async () => [(await get(refs[2])).at(-1), ...(await values(refs))]
    const half = count.remote('half a stream', 40)
    const firstOnes = await some(half, 22)
    parts.halfStream = async () => {
      const last = (await get(firstOnes[21])).at(-1)
      const all = [...(await values(firstOnes)), ...(await values(await some(half, 18)))]
      return [last, ...all, (await half.next()).done]
    }
  }
  await collect()
`

describe('results that died with their node', { timeout: 120_000 }, () => {
  let said: Record<string, unknown>
  let runs: Record<string, string>
  before(async () => {
    ;({ said, runs } = await outcomeOf(source, 3))
  })

  function assertRuns(expected: Record<string, string>): void {
    for (const [name, places] of Object.entries(expected)) assert.equal(runs[name], places, name)
  }

  test('are made again, by one more run of their task', () => {
    assert.deepEqual(said['one'], [true, true])
    assertRuns({ one: 'vo' })
  })

  test('with what they were made of, each once', () => {
    assert.deepEqual(said['chain'], [true, true, true])
    assertRuns({ 'chain a': 'vo', 'chain b': 'vo', 'chain c': 'vo' })
    assert.equal(said['diamond'], true)
    assertRuns({ 'diamond a': 'vo', 'diamond b': 'vo', 'diamond c': 'vo', 'diamond d': 'vo' })
  })

  test('also of what had been freed since', () => {
    assert.equal(said['freed'], true)
    assertRuns({ 'freed a': 'vo', 'freed b': 'vo', 'freed c': 'vo' })
  })

  test('with large arguments given by value', () => {
    assert.equal(said['largeArgument'], true)
    assertRuns({ 'large argument': 'vo' })
  })

  test('once for all who ask', () => {
    assert.deepEqual(said['borrowers'], [true, true, true, true])
    assert.deepEqual(said['argument'], [true, true, true, true])
    assertRuns({ borrowed: 'vo', argument: 'vo' })
  })

  test('once for all results of a task', () => {
    assert.deepEqual(said['several'], [1, 2, 3])
    assertRuns({ several: 'vo' })
  })

  test('with the refs inside of them', () => {
    assert.deepEqual(said['nested'], [9, true, true])
    assertRuns({ outer: 'vo', given: 'vo', 'inner of outer': 'vo' })
  })

  test('when a task owns them', () => {
    assert.equal(said['ownedByTask'], true)
    assertRuns({ 'owned by task': 'vo' })
  })

  test('but not without retries: the error says so, to the task that needs them, too', () => {
    for (const failed of said['noRetries'] as Failure[]) {
      assert.equal(failed.code, 'OBJECT_LOST')
      assert.match(failed.message, /is lost: .*; task make, which made it, has no retries left after 1 try$/)
      assert.equal(failed.tries, 1)
    }
    assertRuns({ 'no retries': 'v', 'of no retries': 'v' })
  })

  test('but not where only the node that is gone would do', () => {
    const failed = said['onlyThere'] as Failure
    assert.equal(failed.code, 'OBJECT_LOST')
    assert.match(failed.message, /running its task again has failed: task make: asked for CPU 1 on node/)
    assertRuns({ 'only there': 'v' })
  })

  test('but not what was put there: its owner is gone with it', () => {
    assert.equal((said['putInTask'] as Failure).code, 'OWNER_DIED')
    assertRuns({ putter: 'v' })
  })

  test('unless that is cancelled, at once', () => {
    assert.deepEqual(said['cancelled'], Array(4).fill('TASK_CANCELLED'))
    assertRuns({ endless: 'vo', 'of endless': 'v' })
  })

  test('or the task throws the next time', () => {
    assert.equal((said['throwsLater'] as Failure).message, 'not again')
    assertRuns({ 'throws later': 'vo' })
  })

  test('also items of a stream that has ended', () => {
    assert.deepEqual(said['stream'], [2, 0, 1, 2, 3])
    assertRuns({ stream: 'vo' })
  })

  test('and of one that goes on', () => {
    const all = Array.from({ length: 40 }, (_, i) => i)
    assert.deepEqual(said['halfStream'], [21, ...all, true])
    assertRuns({ 'half a stream': 'vo' })
  })
})

function journalOf({ directory }: LocalMesh): string[] {
  return readFileSync(path.join(directory, 'journal'), 'utf8').trim().split('\n')
}

const largeBytes = 200_000_000

/** Kills the victim while a large value is coming to `home`. Resolves with false when it `isThere` before that. */
async function killInTransfer(home: LocalNode, victim: LocalNode, isThere: () => boolean): Promise<boolean> {
  const client = await NodeClient.connect(home.socketPath)
  const isComing = async (): Promise<boolean> => {
    const { objects } = await client.call('objects', {})
    return objects.some(({ bytes, where }) => bytes >= largeBytes && where === 'writing')
  }
  try {
    while (!(await isComing())) if (isThere()) return false
    // So that it cannot end while it is looked at once more.
    process.kill(victim.pid, 'SIGSTOP')
    const isStillComing = await isComing()
    process.kill(victim.pid, isStillComing ? 'SIGKILL' : 'SIGCONT')
    return isStillComing
  } finally {
    client.close()
  }
}

describe('a node that dies while it sends a value', { timeout: 120_000 }, () => {
  test('another one that has it goes on; without one it is made again', async () => {
    // From memory to memory it would be there before anybody could look.
    await using mesh = await startLocalMesh({ nodes: 3, cpus: 2, options: { handOver: false } })
    const [home, first, second] = mesh.nodes as [LocalNode, LocalNode, LocalNode]
    await using driver = new DriverProgram(
      `
      import { appendFileSync } from 'node:fs'
      import { init, remote, get, wait, taskContext } from 'SDK'
      import { createInterface } from 'node:readline'
      await init()
      const journal = ${JSON.stringify(path.join(mesh.directory, 'journal'))}
      const length = ${largeBytes / 8}
      const at = (nodeId, soft = false) => ({ schedulingStrategy: { nodeId, soft } })
      const make = remote((seed: number) => {
        appendFileSync(journal, seed + ' ' + taskContext().nodeId + '\\n')
        const values = new Float64Array(length)
        for (let i = 0; i < length; i++) values[i] = i * seed
        return values
      })
      const read = remote((values: Float64Array) => values.length)
      const isRight = (values: Float64Array, seed: number) => {
        for (let i = 0; i < length; i++) if (values[i] !== i * seed) return false
        return values.length === length
      }
      let seed = 0
      for await (const line of createInterface({ input: process.stdin })) {
        const [maker, reader] = line.split(' ')
        const ref = make.options(at(maker, true)).remote(++seed)
        await wait([ref], { fetchLocal: false })
        if (reader !== undefined) await get(read.options(at(reader)).remote(ref))
        console.log('PULL ' + seed)
        console.log('GOT ' + seed + ' ' + isRight(await get(ref), seed))
      }
      `,
      { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
    )
    let seed = 0
    /** Gives the number of the value during whose transfer its maker died. */
    const pullAndKill = async (victim: LocalNode, reader?: LocalNode): Promise<number> => {
      for (;;) {
        driver.write([victim.nodeId, reader?.nodeId ?? ''].join(' ').trim() + '\n')
        seed += 1
        await driver.printed(new RegExp(`PULL ${seed}\n`))
        let isThere = false
        const got = driver.printed(new RegExp(`GOT ${seed} true`)).finally(() => (isThere = true))
        const isKilled = await killInTransfer(home, victim, () => isThere)
        await got
        if (isKilled) return seed
      }
    }
    const withOther = await pullAndKill(first, second)
    const alone = await pullAndKill(second)
    const runs = Map.groupBy(journalOf(mesh), (line) => Number(line.split(' ')[0]))
    assert.deepEqual(runs.get(withOther), [`${withOther} ${first.nodeId}`])
    assert.deepEqual(runs.get(alone), [`${alone} ${second.nodeId}`, `${alone} ${home.nodeId}`])
  })
})
