import { setTimeout as delay } from 'node:timers/promises'
import { init, shutdown } from '../../sdk/index.ts'
import { seededRandom } from '../demo/seeded-random.ts'
import type { LoadLine } from './chaos.ts'
import { scenes, type Stage } from './scenes.ts'

/**
 * The program that works on a mesh in trouble: many scenes at a time, each of which checks what it gets. It begins new ones
 * until its input ends, and says how it is, a line of JSON each time.
 */
const scenesAtOnce = 8
const sayMs = 1000
/** A scene that takes longer hangs. */
const sceneMs = 150_000

const { seed } = JSON.parse(process.argv[2] ?? '{}') as { seed: number }
const random = seededRandom(seed)
const right: Record<string, number> = {}
const allowed: Record<string, number> = {}
const ending = new AbortController()

const say = (line: LoadLine): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
const stage: Stage = {
  random,
  right: (kind, count = 1) => void (right[kind] = (right[kind] ?? 0) + count),
  allowed: (kind, error) => {
    const key = `${kind}: ${(error as { code?: string }).code ?? String(error)}`
    allowed[key] = (allowed[key] ?? 0) + 1
  },
}

async function act(): Promise<void> {
  while (!ending.signal.aborted) {
    const { name, scene } = pick()
    const inTime = new AbortController()
    const late = delay(sceneMs, undefined, { signal: inTime.signal }).then(
      () => {
        throw new Error(`the scene ${name} hangs: it has not ended in ${sceneMs / 1000} s`)
      },
      () => undefined,
    )
    try {
      await Promise.race([scene(stage), late])
    } catch (error) {
      const { stack, code = '' } = error as { stack?: string; code?: string }
      say({ problem: `scene ${name}: ${code} ${stack ?? String(error)}` })
      process.exitCode = 1
    } finally {
      inTime.abort()
    }
  }
}

function pick(): (typeof scenes)[number] {
  const sum = scenes.reduce((weights, { weight }) => weights + weight, 0)
  let at = random() * sum
  for (const scene of scenes) {
    at -= scene.weight
    if (at < 0) return scene
  }
  return scenes[0] as (typeof scenes)[number]
}

process.stdin.resume().on('end', () => ending.abort())
await init()
const timer = setInterval(() => say({ right, allowed }), sayMs)
await Promise.all(Array.from({ length: scenesAtOnce }, () => act()))
clearInterval(timer)
say({ right, allowed, isDone: true })
await shutdown()
process.exit()
