import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import type { LocalMesh, LocalNode } from '../../node/local-mesh/local-mesh.ts'
import { startLocalMesh } from '../../node/local-mesh/local-mesh.ts'
import { DriverProgram } from '../support/driver-program.ts'

/** Two nodes; the driver is attached to the first, the second is the one that dies. */
async function meshAndVictim(cpus: number): Promise<{ mesh: LocalMesh; home: LocalNode; victim: LocalNode }> {
  const mesh = await startLocalMesh({ nodes: 2, cpus })
  const [home, victim] = mesh.nodes as [LocalNode, LocalNode]
  return { mesh, home, victim }
}

/**
 * A program with tasks that make 10 MB, rather on the victim than elsewhere, and note each run in a journal. Once it has said
 * READY it waits until the victim is gone.
 */
function program({ directory }: LocalMesh, home: LocalNode, victim: LocalNode, source: string): DriverProgram {
  return new DriverProgram(
    `
    import { appendFileSync } from 'node:fs'
    import { init, remote, get, put, wait, cancel, nodes, taskContext, ObjectLostError } from 'SDK'
    await init()
    const journal = ${JSON.stringify(path.join(directory, 'journal'))}
    const onVictim = { schedulingStrategy: { nodeId: ${JSON.stringify(victim.nodeId)}, soft: true } } as const
    const bytes = 10_000_000
    const make = remote((name: string, seed: number) => {
      appendFileSync(journal, name + '\\n')
      return Float64Array.from({ length: bytes / 8 }, (_, i) => i * seed)
    }, onVictim)
    const add = remote((name: string, a: Float64Array, b: Float64Array) => {
      appendFileSync(journal, name + '\\n')
      return a.map((x, i) => x + (b[i] as number))
    }, onVictim)
    const isRight = (values: Float64Array, seed: number) =>
      values.length === bytes / 8 && values.every((x, i) => x === i * seed)
    async function victimDies(): Promise<void> {
      console.log('READY')
      while ((await nodes()).filter(({ isAlive }) => isAlive).length > 1) await new Promise((r) => setTimeout(r, 20))
    }
    const say = (value: unknown) => console.log('RESULT ' + JSON.stringify(value))
    ${source}
    `,
    { SHOAL_RUNTIME_DIR: home.runtimeDirectory },
  )
}

/** Runs the program and kills the victim when it is ready. Gives what the program says, and how often each task has run. */
async function outcome(
  source: string,
  cpus = 2,
): Promise<{ said: unknown; runs: Record<string, number>; victim: LocalNode }> {
  const { mesh, home, victim } = await meshAndVictim(cpus)
  await using _ = mesh
  await using driver = program(mesh, home, victim, source)
  await driver.printed(/READY/)
  process.kill(victim.pid, 'SIGKILL')
  const { stdout, stderr } = await driver.ended()
  const said = /RESULT (.*)/.exec(stdout)?.[1]
  assert.ok(said !== undefined, `${stdout}\n${stderr}`)
  const runs: Record<string, number> = {}
  for (const line of readFileSync(path.join(mesh.directory, 'journal'), 'utf8').trim().split('\n')) {
    runs[line] = (runs[line] ?? 0) + 1
  }
  return { said: JSON.parse(said), runs, victim }
}

describe('results that died with their node', { timeout: 60_000 }, () => {
  test('are made again, by one more run of their task', async () => {
    const { said, runs } = await outcome(`
      const ref = make.remote('one', 3)
      await wait([ref], { fetchLocal: false })
      await victimDies()
      const [value, again] = await Promise.all([get(ref), get(ref)])
      say([isRight(value, 3), isRight(again, 3)])
    `)
    assert.deepEqual(said, [true, true])
    assert.deepEqual(runs, { one: 2 })
  })
})
