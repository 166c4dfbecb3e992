import { setTimeout as delay } from 'node:timers/promises'
import { NodeClient } from '../../node/cli/node-client.ts'
import type { NodeOptions } from '../../node/options.ts'
import type { LabMachine, NetworkLab } from '../../test/support/network-lab.ts'

export interface TroubleOptions {
  lab: NetworkLab
  /** The program's own node: it is never killed, for the program would end with it. */
  home: LabMachine
  random(): number
  nodeOptions: NodeOptions
  say(text: string): void
}

const kinds = [
  'worker killed',
  'worker stopped',
  'node killed',
  'node stopped',
  'node cut off',
  'head killed',
  'head stopped',
] as const
/** At a time: a mesh of which most is gone has nothing to show. */
const outMax = 2

/** Makes trouble for nodes and workers, one at a time, and undoes it after a while. */
export class Trouble {
  readonly counts: Record<string, number> = {}
  readonly #with: TroubleOptions
  /** Machines in trouble, until they are back. */
  readonly #out = new Map<LabMachine, Promise<void>>()

  constructor(options: TroubleOptions) {
    this.#with = options
  }

  /** Begins the next trouble. */
  async next(): Promise<void> {
    const { random, say } = this.#with
    const kind = kinds[Math.floor(random() * kinds.length)] as (typeof kinds)[number]
    const [draw, length] = [random(), 1000 + random() * 6000]
    try {
      const what = await this.#begin(kind, draw, length)
      if (what === undefined) return
      this.counts[kind] = (this.counts[kind] ?? 0) + 1
      say(`  ${kind}: ${what}`)
    } catch (error) {
      say(`  ${kind}: it could not be done: ${(error as Error).message}`)
    }
  }

  /** Waits until all is well again. */
  async end(): Promise<void> {
    await Promise.all(this.#out.values())
  }

  /** Says what was done; undefined when there was nothing to do it to. */
  async #begin(kind: (typeof kinds)[number], draw: number, lengthMs: number): Promise<string | undefined> {
    const { lab, home } = this.#with
    const well = lab.machines.filter((machine) => !this.#out.has(machine))
    const pick = <T>(items: readonly T[]): T | undefined => items[Math.floor(draw * items.length)]
    if (kind.startsWith('worker')) {
      const machine = pick(well)
      const pids = machine === undefined ? [] : await workersOf(machine)
      const pid = pick(pids)
      if (machine === undefined || pid === undefined) return undefined
      process.kill(pid, kind === 'worker killed' ? 'SIGKILL' : 'SIGSTOP')
      if (kind === 'worker stopped') void delay(lengthMs / 2).then(() => signal(pid, 'SIGCONT'))
      return `pid ${pid} of ${machine.name}`
    }
    if (this.#out.size >= outMax) return undefined
    const isHead = kind.startsWith('head')
    const found = isHead ? await this.#head(well) : pick(well)
    if (found === undefined) return undefined
    // The program's own node cannot be killed, but it can be stopped.
    const isKill = kind.endsWith('killed') && found !== home
    const isCut = kind === 'node cut off'
    this.#out.set(
      found,
      this.#trouble(found, isKill, isCut, lengthMs).finally(() => this.#out.delete(found)),
    )
    return `${found.name} for ${(lengthMs / 1000).toFixed(1)} s${found === home ? ' (the program’s own)' : ''}`
  }

  async #trouble(machine: LabMachine, isKill: boolean, isCut: boolean, lengthMs: number): Promise<void> {
    if (isCut) {
      machine.setCable(false)
      await delay(lengthMs)
      machine.setCable(true)
    } else if (isKill) {
      await machine.down('SIGKILL')
      await delay(lengthMs)
      await machine.up(this.#with.nodeOptions)
    } else {
      machine.child?.kill('SIGSTOP')
      await delay(lengthMs)
      machine.child?.kill('SIGCONT')
    }
  }

  async #head(machines: readonly LabMachine[]): Promise<LabMachine | undefined> {
    const [first] = machines
    if (first === undefined) return undefined
    const client = await NodeClient.connect(first.ready?.socketPath ?? '')
    try {
      const nodes = await client.call('nodes', {})
      const head = nodes.find(({ isHead }) => isHead)?.id
      return machines.find(({ ready }) => ready?.nodeId === head)
    } finally {
      client.close()
    }
  }
}

async function workersOf({ ready }: LabMachine): Promise<number[]> {
  const client = await NodeClient.connect(ready?.socketPath ?? '')
  try {
    const { workers } = await client.status()
    return workers.map(({ pid }) => pid).filter((pid) => pid > 0)
  } finally {
    client.close()
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended meanwhile.
  }
}
