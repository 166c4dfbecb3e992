import { readFileSync } from 'node:fs'
import { NodeClient } from '../../node/cli/node-client.ts'
import type { LocalNode } from '../../node/local-mesh/local-mesh.ts'
import type { NodeStatus } from '../../node/status.ts'
import { Seen } from './leftovers.ts'

/** What a node said of itself; undefined while there is none. */
export type NodeState = NodeStatus | undefined

/** Asks the nodes of a mesh how they are. */
export class Watch implements Disposable {
  readonly #clients: (NodeClient | undefined)[]
  /** Processes and folders of nodes. */
  readonly seen = new Seen()
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(clients: NodeClient[]) {
    this.#clients = clients
  }

  static async open(nodes: readonly LocalNode[]): Promise<Watch> {
    return new Watch(await Promise.all(nodes.map(({ socketPath }) => NodeClient.connect(socketPath))))
  }

  /** A node is about to be killed. */
  away(index: number): void {
    const client = this.#clients[index]
    this.#clients[index] = undefined
    client?.close()
  }

  async back(index: number, { socketPath }: LocalNode): Promise<void> {
    this.#clients[index] = await NodeClient.connect(socketPath)
  }

  /** Calls that overlap are answered in their order. */
  states(): Promise<NodeState[]> {
    const answer = this.#turn.then(() => Promise.all(this.#clients.map((_, index) => this.#ask(index))))
    this.#turn = answer.catch(() => undefined)
    return answer
  }

  async #ask(index: number): Promise<NodeState> {
    const client = this.#clients[index]
    if (client === undefined) return undefined
    try {
      const status = await client.status()
      this.#note(status)
      return status
    } catch (error) {
      // It was killed meanwhile.
      if (this.#clients[index] !== client) return undefined
      throw error
    }
  }

  #note({ node, workers, store }: NodeStatus): void {
    this.seen.process(node.pid)
    for (const { pid } of workers) if (pid > 0) this.seen.process(pid)
    this.seen.directory(store.directory)
    this.seen.directory(store.spilled.directory)
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client?.close()
  }
}

/** What keeps the stores from being empty: '' when nothing does. */
export function leftInStores(nodes: readonly NodeState[]): string {
  const left = nodes.map((state, i) => {
    if (state === undefined) return `node ${i + 1} is away`
    const { objects, usedBytes, pinned, spilled } = state.store
    const isEmpty = objects === 0 && usedBytes === 0 && pinned === 0 && spilled.bytes === 0
    return isEmpty
      ? ''
      : `node ${i + 1} has ${objects} objects, ${usedBytes} bytes, ${pinned} pins, ${spilled.bytes} bytes on the disk`
  })
  return left.filter((each) => each !== '').join('; ')
}

/** Memory of a process that it shares with no other, without files; NaN where the system does not tell. */
export function privateBytes(pid: number): number {
  try {
    return Number(/RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
  } catch {
    return Number.NaN
  }
}
