import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { NodeOptions } from '../../node/options.ts'

const main = fileURLToPath(new URL('../../node/main.ts', import.meta.url))
const bridges = { whole: 'br0', apart: 'br1' }
let labs = 0

/** True when this system lets us make network namespaces. */
export function canMakeNetworks(): boolean {
  const probe = `shoal-probe-${process.pid}`
  try {
    execFileSync('ip', ['netns', 'add', probe], { stdio: 'ignore' })
    execFileSync('ip', ['netns', 'del', probe], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** What a daemon says when it is up. */
export interface LabReady {
  ready?: true
  socketPath: string
  pid: number
  nodeId: string
  joinToken?: string
  addresses: string[]
  error?: { code: string; message: string }
}

/** One machine of the lab: a network namespace with an address on the common bridge. */
export class LabMachine {
  readonly name: string
  readonly namespace: string
  readonly address: string
  readonly directory: string
  readonly port: string
  readonly #switch: string
  child: ChildProcess | undefined
  ready: LabReady | undefined

  constructor(name: string, namespace: string, address: string, directory: string, onSwitch: string) {
    this.name = name
    this.namespace = namespace
    this.address = address
    this.directory = directory
    this.#switch = onSwitch
    this.port = `p-${name}`
    mkdirSync(directory, { recursive: true })
  }

  get runtimeDirectory(): string {
    return path.join(this.directory, 'run')
  }

  /** The environment of programs on this machine. */
  get env(): NodeJS.ProcessEnv {
    const { SHOAL_LISTEN: _, NODE_TEST_CONTEXT: __, ...env } = process.env
    return { ...env, SHOAL_RUNTIME_DIR: this.runtimeDirectory, SHOAL_STATE_DIR: path.join(this.directory, 'state') }
  }

  /** Runs a program in the namespace. */
  spawn(command: string, args: readonly string[], stdin: 'pipe' | 'ignore' = 'ignore'): ChildProcess {
    return spawn('ip', ['netns', 'exec', this.namespace, command, ...args], {
      stdio: [stdin, 'pipe', 'inherit'],
      env: this.env,
    })
  }

  /** Starts the node of this machine and waits until it is ready; a token is given over standard input. */
  async up(options: NodeOptions = {}, token?: string): Promise<LabReady> {
    const all: NodeOptions = {
      cpus: 2,
      gpus: 0,
      name: this.name,
      ...options,
      ...(token === undefined ? {} : { join: '-' }),
    }
    const isEmbedded = options.embedded === true
    const stdin = token === undefined && !isEmbedded ? 'ignore' : 'pipe'
    const child = this.spawn(process.execPath, [main, JSON.stringify(all)], stdin)
    this.child = child
    if (token !== undefined) child.stdin?.write(`${token}\n`)
    if (!isEmbedded) child.stdin?.end()
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    const [line] = (await once(lines, 'line')) as [string]
    this.ready = JSON.parse(line) as LabReady
    if (this.ready.error !== undefined) throw new Error(`${this.name}: ${this.ready.error.message}`)
    return this.ready
  }

  /** Ends the node; `ip netns exec` has become the node's own process, so its pid is the node's. */
  async down(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const { child } = this
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGCONT')
    child.kill(signal)
    await once(child, 'exit')
  }

  /** Pulls the plug of this machine's cable, or puts it back. */
  setCable(isIn: boolean): void {
    ip('-n', this.#switch, 'link', 'set', this.port, isIn ? 'up' : 'down')
  }

  /** Plugs this machine into a network with the others that are apart, or back into that of all the rest. */
  setApart(isApart: boolean): void {
    ip('-n', this.#switch, 'link', 'set', this.port, 'master', isApart ? bridges.apart : bridges.whole)
  }

  /** Ends all connections with another machine; new ones can be made at once. False where the system cannot do that. */
  breakConnections(to: LabMachine): boolean {
    const { status, stderr } = spawnSync('ip', ['netns', 'exec', this.namespace, 'ss', '-K', 'dst', to.address])
    return status === 0 && !stderr.includes('not supported')
  }

  /** From now on this machine's cable takes no more than so much, each way. */
  limit(mbit: number): void {
    const shape = ['root', 'tbf', 'rate', `${mbit}mbit`, 'burst', '256kb', 'latency', '50ms']
    tc('-n', this.namespace, 'qdisc', 'replace', 'dev', 'eth0', ...shape)
    tc('-n', this.#switch, 'qdisc', 'replace', 'dev', this.port, ...shape)
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}

function tc(...args: string[]): void {
  execFileSync('tc', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}

/**
 * Machines with a network of their own, on this one: a network namespace each, on a bridge in one more. Nothing of it
 * touches the real network. Needs root.
 */
export class NetworkLab implements AsyncDisposable {
  readonly machines: LabMachine[] = []
  readonly #directory = mkdtempSync(path.join(tmpdir(), 'shoal-lab-'))
  readonly #prefix = `shoal-${process.pid}-${labs++}`
  readonly #switch: string

  constructor(...names: string[]) {
    this.#switch = `${this.#prefix}-sw`
    ip('netns', 'add', this.#switch)
    // Without a router nobody asks for multicast groups, so the bridge must not wait for that.
    for (const bridge of [bridges.whole, bridges.apart]) {
      ip('-n', this.#switch, 'link', 'add', bridge, 'type', 'bridge', 'mcast_snooping', '0')
      ip('-n', this.#switch, 'link', 'set', bridge, 'up')
    }
    names.forEach((name, index) => this.#add(name, index))
  }

  #add(name: string, index: number): void {
    const namespace = `${this.#prefix}-${name}`
    const address = `10.77.0.${index + 1}`
    const machine = new LabMachine(name, namespace, address, path.join(this.#directory, name), this.#switch)
    ip('netns', 'add', namespace)
    this.machines.push(machine)
    ip('-n', this.#switch, 'link', 'add', machine.port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace)
    ip('-n', this.#switch, 'link', 'set', machine.port, 'master', bridges.whole, 'up')
    ip('-n', namespace, 'link', 'set', 'lo', 'up')
    ip('-n', namespace, 'addr', 'add', `${address}/24`, 'broadcast', '10.77.0.255', 'dev', 'eth0')
    ip('-n', namespace, 'link', 'set', 'eth0', 'up')
    ip('-n', namespace, 'route', 'add', 'default', 'dev', 'eth0')
  }

  machine(name: string): LabMachine {
    const found = this.machines.find((machine) => machine.name === name)
    if (found === undefined) throw new Error(`the lab has no machine ${name}`)
    return found
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.machines.map((machine) => machine.down('SIGKILL')))
    for (const { namespace } of this.machines) ip('netns', 'del', namespace)
    ip('netns', 'del', this.#switch)
    rmSync(this.#directory, { recursive: true, force: true })
  }
}
