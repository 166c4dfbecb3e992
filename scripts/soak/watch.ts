import { NodeClient } from '../../node/cli/node-client.ts'
import type { LocalNode } from '../../node/local-mesh/local-mesh.ts'
import type { NodeStatus } from '../../node/status.ts'

const mebibyte = 2 ** 20

/** What every node said of itself at one time. */
export interface Sample {
  seconds: number
  objects: number
  nodes: NodeStatus[]
}

/** Asks the nodes of a mesh how they are. */
export class Watch implements Disposable {
  readonly #clients: NodeClient[]
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(clients: NodeClient[]) {
    this.#clients = clients
  }

  static async open(nodes: readonly LocalNode[]): Promise<Watch> {
    return new Watch(await Promise.all(nodes.map(({ socketPath }) => NodeClient.connect(socketPath))))
  }

  /** Calls that overlap are answered in their order. */
  statuses(): Promise<NodeStatus[]> {
    const answer = this.#turn.then(() => Promise.all(this.#clients.map((client) => client.status())))
    this.#turn = answer.catch(() => undefined)
    return answer
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.close()
  }
}

export function isEmpty(nodes: readonly NodeStatus[]): boolean {
  return nodes.every(({ store }) => store.objects === 0 && store.usedBytes === 0 && store.spilled.bytes === 0)
}

const widths = [7, 9, 20, 20, 20, 20]

function row(cells: readonly string[]): string {
  return cells.map((cell, i) => cell.padStart(widths[i] ?? 0)).join('  ')
}

export const heading = row(['seconds', 'objects', 'stored', 'MiB used', 'MiB spilled', 'MiB RSS'])

/** A line of the curve; where there are several nodes, one number for each. */
export function line({ seconds, objects, nodes }: Sample): string {
  const each = (numberOf: (status: NodeStatus) => number): string =>
    nodes.map((status) => numberOf(status).toFixed(0)).join(' / ')
  return row([
    seconds.toFixed(0),
    String(objects),
    each(({ store }) => store.objects),
    each(({ store }) => store.usedBytes / mebibyte),
    each(({ store }) => store.spilled.bytes / mebibyte),
    each(({ node }) => node.residentBytes / mebibyte),
  ])
}
