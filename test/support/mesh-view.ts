import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { LabMachine } from './network-lab.ts'
import { shoal } from './command-line.ts'

interface SeenNode {
  id: string
  name: string
  isHead: boolean
  linked: boolean
  isSelf: boolean
  state: string
}

/** The mesh as a machine's node sees it. */
export async function meshOf({
  runtimeDirectory,
}: Pick<LabMachine, 'runtimeDirectory'>): Promise<{ nodes: SeenNode[] }> {
  const { code, stdout, stderr } = await shoal(runtimeDirectory, 'nodes', '--json')
  assert.equal(code, 0, stderr)
  const said = JSON.parse(stdout) as SeenNode[] | { nodes: SeenNode[] }
  return { nodes: Array.isArray(said) ? said : said.nodes }
}

/** Waits until the machines' nodes see each other, and one head. */
export async function settled(machines: readonly LabMachine[], timeoutMs = 15_000): Promise<string> {
  const ids = machines.map(({ ready }) => ready?.nodeId ?? '').toSorted()
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const views = await Promise.all(machines.map((machine) => meshOf(machine)))
    const isComplete = views.every(({ nodes }) => {
      const reached = nodes.filter(({ linked, isSelf }) => linked || isSelf)
      return JSON.stringify(reached.map(({ id }) => id).toSorted()) === JSON.stringify(ids)
    })
    const heads = new Set(views.map(({ nodes }) => nodes.find(({ isHead }) => isHead)?.id))
    const [head] = heads
    if (isComplete && heads.size === 1 && head !== undefined) return head
    if (Date.now() > deadline) throw new Error(`the nodes do not agree: ${JSON.stringify(views)}`)
    await delay(100)
  }
}
