import { NodeClient } from '../../node/cli/node-client.ts'
import type { LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { setTimeout as delay } from 'node:timers/promises'
import { DriverProgram } from './driver-program.ts'

/** The head that these nodes follow; waits until they agree on one. */
export async function headOf(nodes: readonly LocalNode[]): Promise<LocalNode | undefined> {
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

/** A program with actors that does what it is told, a line at a time, and says what came of it. */
export class ActorOperator implements AsyncDisposable {
  readonly #driver: DriverProgram
  #said = 0

  constructor(node: Pick<LocalNode, 'runtimeDirectory'>) {
    this.#driver = new DriverProgram(
      `
      import { createInterface } from 'node:readline'
      import { actorContext, init, put, shutdown, remote, get, getActor, kill, ShoalError, type ActorHandle } from 'SDK'
      class Step { k: number; constructor(k: number) { this.k = k } times(n: number) { return this.k * n } }
      const thrice = remote((step: Step) => step.times(3))
      const viaTask = remote((step: Step) => get(thrice.remote(step)))
      class Counting {
        n: number
        step: Step
        held: unknown
        constructor(n = 0, step = new Step(1)) { this.n = n; this.step = step }
        add(k = 1) { return (this.n += this.step.times(k)) }
        pid() { return process.pid }
        node() { return actorContext().nodeId }
        restarts() { return actorContext().restarts }
        async addThrice() { return (this.n += await get(viaTask.remote(this.step))) }
        hold(value: unknown) { this.held = value; return true }
        give() { return this.held }
        crash() { process.exit(3) }
      }
      const Counter = remote(Counting, { maxTaskRetries: -1 })
      const handles = new Map<string, ActorHandle<typeof Counting>>()
      const commands: Record<string, (name: string, ...rest: any[]) => Promise<unknown>> = {
        make: async (name, options = {}, n = 0, k = 1) => {
          const { isUnnamed, ...rest } = options
          const named = isUnnamed ? rest : { name, ...rest }
          const handle = Counter.options(named).remote(put(n), new Step(k))
          const pid = await get(handle.pid.remote())
          handles.set(name, handle)
          return pid
        },
        // So many callers at once: which processes they get, and which errors, each once.
        race: async (name, count, options = {}) => {
          const make = async () => {
            const handle = Counter.options({ name, ...options }).remote()
            const pid = await get(handle.pid.remote())
            handles.set(name, handle)
            return pid
          }
          const made = await Promise.allSettled(Array.from({ length: count }, make))
          const said = (error: any) => (error.cause ?? error).code
          return [...new Set(made.map((each) => each.status === 'fulfilled' ? each.value : said(each.reason)))]
        },
        find: async (name) => {
          const handle = await getActor<typeof Counter>(name)
          const pid = await get(handle.pid.remote())
          handles.set(name, handle)
          return pid
        },
        call: (name, method, ...args) => get((handles.get(name) as any)[method].remote(...args)),
        hold: (name, other) => get(handles.get(name)!.hold.remote({ handle: handles.get(other) })),
        give: async (name, other) => {
          const { handle } = (await get(handles.get(name)!.give.remote())) as { handle: ActorHandle<typeof Counting> }
          handles.set(other, handle)
          return get(handle.pid.remote())
        },
        kill: async (name) => kill(handles.get(name)!),
        end: async () => { setTimeout(() => void shutdown(), 10) },
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
