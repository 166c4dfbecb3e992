import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { NodeClient } from '../../node/cli/node-client.ts'
import type { NodeStatus } from '../../node/status.ts'
import { settled } from '../../test/support/mesh-view.ts'
import { NetworkLab, type LabMachine } from '../../test/support/network-lab.ts'
import { seededRandom } from '../demo/seeded-random.ts'
import { Trouble } from './trouble.ts'

export interface ChaosOptions {
  minutes: number
  seconds: number
  nodes: number
  seed: number
  every: number
  json: boolean
  say(text: string): void
}

/** What a load says of itself, a line each. */
export interface LoadLine {
  /** Results that are right, by the kind of their scene. */
  right?: Record<string, number>
  /** Errors that the options of their scenes allow: the kind and the code. */
  allowed?: Record<string, number>
  problem?: string
  isDone?: boolean
}

export interface ChaosReport {
  seconds: number
  right: Record<string, number>
  allowed: Record<string, number>
  troubles: Record<string, number>
  problems: string[]
}

const storeBytesMax = 256 * 2 ** 20
const cpusPerNode = 2
const reportMs = 15_000
/** How long the load may take to end when no more is begun. */
const endMs = 180_000
/** All must be free so long after the program has ended. */
const drainMs = 60_000
const loadProgram = fileURLToPath(new URL('load.ts', import.meta.url))

/** Runs the load in trouble. Problems are in the report; rejects only when the nodes cannot be started. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { say, seed } = options
  const startedMs = performance.now()
  const seconds = (): number => (performance.now() - startedMs) / 1000
  const report: ChaosReport = { seconds: 0, right: {}, allowed: {}, troubles: {}, problems: [] }
  await using lab = new NetworkLab(...Array.from({ length: options.nodes }, (_, i) => `n${i + 1}`))
  const nodeOptions = { cpus: cpusPerNode, storeBytesMax, embedded: false }
  const [home, ...others] = lab.machines as [LabMachine, ...LabMachine[]]
  const { joinToken } = await home.up(nodeOptions)
  await Promise.all(others.map((machine) => machine.up(nodeOptions, joinToken)))
  await settled(lab.machines, 60_000)
  say(`${options.nodes} nodes, seed ${seed}`)

  const load = home.spawn(process.execPath, [loadProgram, JSON.stringify({ seed })], 'pipe')
  const ended = follow(load, report, say)
  const trouble = new Trouble({ lab, home, random: seededRandom(seed ^ 0x5eed), nodeOptions, say })
  const untilMs = (options.minutes * 60 + options.seconds) * 1000
  const timer = setInterval(() => say(progress(seconds(), report, trouble)), reportMs)
  try {
    for (let nextMs = options.every * 1000; nextMs < untilMs; nextMs += options.every * 1000) {
      await Promise.race([delay(Math.max(0, nextMs - seconds() * 1000)), ended])
      if (load.exitCode !== null) break
      await trouble.next()
    }
    await Promise.race([delay(Math.max(0, untilMs - seconds() * 1000)), ended])
    await trouble.end()
    report.troubles = trouble.counts
    // Its input ends: it begins nothing new.
    load.stdin?.end()
    const isOver = await Promise.race([
      ended.then(() => true),
      delay(endMs, undefined, { ref: false }).then(() => false),
    ])
    if (!isOver) {
      report.problems.push(`the load did not end within ${endMs / 1000} s`)
      load.kill('SIGKILL')
    } else if (load.exitCode !== 0) report.problems.push(`the load ended with ${load.exitCode ?? load.signalCode}`)
    await settled(lab.machines, 60_000).catch((error: unknown) => report.problems.push(String(error)))
    report.problems.push(...(await left(lab.machines)))
  } finally {
    clearInterval(timer)
    load.kill('SIGKILL')
  }
  report.seconds = seconds()
  say(progress(report.seconds, report, trouble))
  for (const problem of report.problems) say(`PROBLEM: ${problem}`)
  say(
    report.problems.length === 0
      ? 'every result was right or an error that its options allow; nothing is left'
      : 'FAILED',
  )
  return report
}

async function follow(load: ChildProcess, report: ChaosReport, say: (text: string) => void): Promise<void> {
  const lines = createInterface({ input: load.stdout as NodeJS.ReadableStream })
  lines.on('line', (text) => {
    let line: LoadLine
    try {
      line = JSON.parse(text) as LoadLine
    } catch {
      say(`load: ${text}`)
      return
    }
    if (line.right !== undefined) report.right = line.right
    if (line.allowed !== undefined) report.allowed = line.allowed
    if (line.problem !== undefined) {
      report.problems.push(line.problem)
      say(`PROBLEM: ${line.problem}`)
    }
  })
  await once(load, 'close')
}

function progress(seconds: number, { right, allowed, problems }: ChaosReport, { counts }: Trouble): string {
  const sum = (of: Record<string, number>): number => Object.values(of).reduce((a, b) => a + b, 0)
  const list = (of: Record<string, number>): string =>
    Object.entries(of)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ')
  return `${seconds.toFixed(0)} s: ${sum(right)} right (${list(right)}); ${sum(allowed)} allowed errors (${list(allowed)}); ${sum(counts)} troubles (${list(counts)}); ${problems.length} problems`
}

/** What is not free on the nodes though no program is there any more. */
async function left(machines: readonly LabMachine[]): Promise<string[]> {
  const deadline = performance.now() + drainMs
  for (;;) {
    const problems: string[] = []
    for (const machine of machines) problems.push(...leftOn(machine, await statusOf(machine)))
    if (problems.length === 0 || performance.now() > deadline) return problems
    await delay(500)
  }
}

async function statusOf({ ready }: LabMachine): Promise<NodeStatus> {
  const client = await NodeClient.connect(ready?.socketPath ?? '')
  try {
    return await client.status()
  } finally {
    client.close()
  }
}

function leftOn({ name }: LabMachine, { store, resources, pending }: NodeStatus): string[] {
  const problems: string[] = []
  if (store.objects > 0 || store.usedBytes > 0 || store.spilled.bytes > 0) {
    problems.push(
      `${name}: ${store.objects} objects of ${store.usedBytes} bytes are left, ${store.spilled.bytes} on disk`,
    )
  }
  for (const [resource, total] of Object.entries(resources.total)) {
    const available = resources.available[resource] ?? 0
    if (available !== total) problems.push(`${name}: ${available} of ${total} ${resource} are free`)
  }
  if (pending.length > 0) problems.push(`${name}: ${pending.length} requests wait`)
  return problems
}
