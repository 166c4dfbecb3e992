import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { NodeClient } from '../../node/cli/node-client.ts'
import { startLocalMesh, type LocalMesh, type LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { DriverProgram } from '../support/driver-program.ts'

/** The head that these nodes follow; waits until they agree on one. */
async function headOf(nodes: readonly LocalNode[]): Promise<LocalNode | undefined> {
  for (;;) {
    const heads = new Set<string | undefined>()
    for (const { socketPath } of nodes) {
      const client = await NodeClient.connect(socketPath)
      heads.add((await client.call('meshInfo', {})).head)
      client.close()
    }
    const [id] = heads
    if (heads.size === 1 && id !== undefined) return nodes.find(({ nodeId }) => nodeId === id)
    await delay(50)
  }
}

/** A program that does what it is told, a line at a time, and says what came of it. */
class Operator implements AsyncDisposable {
  readonly #driver: DriverProgram
  #said = 0

  constructor(node: LocalNode) {
    this.#driver = new DriverProgram(
      `
      import { createInterface } from 'node:readline'
      import { init, shutdown, remote, get, getActor, kill, ShoalError, type ActorHandle } from 'SDK'
      class Counting {
        n = 0
        add(k = 1) { return (this.n += k) }
        pid() { return process.pid }
      }
      const Counter = remote(Counting, { maxTaskRetries: -1 })
      const handles = new Map<string, ActorHandle<typeof Counting>>()
      const commands: Record<string, (name: string, options?: object) => Promise<unknown>> = {
        make: async (name, options = {}) => {
          const handle = Counter.options({ name, ...options }).remote()
          const pid = await get(handle.pid.remote())
          handles.set(name, handle)
          return pid
        },
        find: async (name) => {
          const handle = await getActor<typeof Counter>(name)
          const pid = await get(handle.pid.remote())
          handles.set(name, handle)
          return pid
        },
        add: (name) => get(handles.get(name)!.add.remote(1)),
        kill: async (name) => kill(handles.get(name)!),
      }
      await init()
      console.log('READY')
      let said = 0
      for await (const line of createInterface({ input: process.stdin })) {
        const [command, ...args] = JSON.parse(line)
        let answer: unknown
        try { answer = (await commands[command]!(...(args as [string]))) ?? null }
        catch (error) { answer = { error: ((error as Error).cause as ShoalError ?? error).code, text: String(error) } }
        console.log('SAID ' + ++said + ' ' + JSON.stringify(answer) + ';')
      }
      await shutdown()`,
      { SHOAL_RUNTIME_DIR: node.runtimeDirectory },
    )
  }

  async ready(): Promise<this> {
    await this.#driver.printed(/READY/)
    return this
  }

  async ask(...command: readonly unknown[]): Promise<unknown> {
    const number = ++this.#said
    this.#driver.write(`${JSON.stringify(command)}\n`)
    const [, answer = ''] = await this.#driver.printed(new RegExp(`SAID ${number} (.*);`))
    return JSON.parse(answer)
  }

  async errorOf(...command: readonly unknown[]): Promise<string | undefined> {
    return ((await this.ask(...command)) as { error?: string } | null)?.error
  }

  kill(): Promise<void> {
    this.#driver.kill('SIGKILL')
    return this.#driver.ended().then(() => undefined)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#driver[Symbol.asyncDispose]()
  }
}

describe('names of actors in a mesh', { timeout: 180_000 }, () => {
  test('are known on all nodes, outlive the head, and end with their owner', async () => {
    await using mesh: LocalMesh = await startLocalMesh({ nodes: 3, cpus: 1 })
    const head = await headOf(mesh.nodes)
    const [a, b] = mesh.nodes.filter((node) => node !== head) as [LocalNode, LocalNode]
    await using here = await new Operator(a).ready()
    await using there = await new Operator(b).ready()
    const pid = await here.ask('make', 'hits')
    assert.equal(typeof pid, 'number')
    assert.equal(await there.ask('find', 'hits'), pid)
    assert.deepEqual([await here.ask('add', 'hits'), await there.ask('add', 'hits')], [1, 2])
    assert.equal(await there.errorOf('make', 'hits'), 'ACTOR_NAME_TAKEN')
    assert.equal(await there.ask('make', 'hits', { getIfExists: true }), pid)

    // While there is no head nothing is said; the next one knows the names.
    const gone = mesh.ended[mesh.nodes.indexOf(head as LocalNode)]
    process.kill((head as LocalNode).pid, 'SIGKILL')
    assert.equal(await there.errorOf('make', 'hits'), 'ACTOR_NAME_TAKEN')
    assert.equal(await there.errorOf('find', 'nobody'), 'ACTOR_NOT_FOUND')
    assert.equal(await there.ask('find', 'hits'), pid)
    assert.equal(await there.ask('add', 'hits'), 3)
    await gone

    await here.kill()
    while ((await there.errorOf('find', 'hits')) !== 'ACTOR_NOT_FOUND') await delay(50)
    assert.notEqual(await there.ask('make', 'hits'), pid)
    await using again = await new Operator(a).ready()
    assert.notEqual(await again.ask('find', 'hits'), pid)
    await again.ask('kill', 'hits')
    while ((await there.errorOf('find', 'hits')) !== 'ACTOR_NOT_FOUND') await delay(50)
  })
})
