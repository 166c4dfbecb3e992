import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { startLocalMesh } from '../../node/local-mesh/local-mesh.ts'
import { init, shutdown } from '../../sdk/index.ts'
import { seededRandom } from '../demo/seeded-random.ts'
import { scenes, type Scene, type Stage } from './scenes.ts'
import { heading, isEmpty, line, Watch, type Sample } from './watch.ts'

export interface SoakOptions {
  minutes: number
  seed: number
  objects: number
  store: number
  killEvery: number
}

const nodeCount = 3
const scenesAtOnce = 6
const shelfMax = 80
const sampleMs = 15_000
const lookMs = 500
/** All must be gone so long after the last ref was dropped. */
const drainMs = 120_000
/** A scene that takes longer hangs. */
const sceneMs = 120_000

const say = (text: string): void => void process.stdout.write(`${text}\n`)

/** Runs the load, and waits until nothing is left of it. Gives the exit code. */
export async function runSoak(options: SoakOptions): Promise<number> {
  const mebibyte = 2 ** 20
  await using mesh = await startLocalMesh({
    nodes: nodeCount,
    cpus: 2,
    options: { storeBytesMax: options.store * mebibyte },
  })
  await init({ address: (mesh.nodes[0] as { socketPath: string }).socketPath })
  using watch = await Watch.open(mesh.nodes)
  const soak = new Soak(options, watch)
  try {
    await soak.load()
    await soak.drain()
    say(soak.summary())
    return 0
  } catch (error) {
    say(soak.summary())
    say(`FAILED: ${describe(error)}`)
    return 1
  } finally {
    await shutdown()
  }
}

class Soak {
  readonly #options: SoakOptions
  readonly #watch: Watch
  readonly #random: () => number
  readonly #startedMs = performance.now()
  readonly #counts = { objects: 0, scenes: 0, ownersDied: 0, kills: 0 }
  readonly #stage: Stage
  #isOver = false

  constructor(options: SoakOptions, watch: Watch) {
    this.#options = options
    this.#watch = watch
    this.#random = seededRandom(options.seed)
    this.#stage = {
      random: this.#random,
      made: (objects) => void (this.#counts.objects += objects),
      ownerDied: () => void (this.#counts.ownersDied += 1),
      shelf: [],
      shelfMax,
    }
  }

  get #seconds(): number {
    return (performance.now() - this.#startedMs) / 1000
  }

  async load(): Promise<void> {
    say(heading)
    const acting = Array.from({ length: scenesAtOnce }, () => this.#act())
    try {
      await Promise.all([...acting, this.#kill(), this.#sample()])
    } finally {
      this.#isOver = true
      this.#stage.shelf.length = 0
    }
  }

  #mayGoOn(): boolean {
    const { minutes, objects } = this.#options
    if (this.#seconds >= minutes * 60 && this.#counts.objects >= objects) this.#isOver = true
    return !this.#isOver
  }

  async #act(): Promise<void> {
    while (this.#mayGoOn()) {
      const scene = pick(this.#random)
      await inTime(scene(this.#stage), `the scene ${scene.name}`)
      this.#counts.scenes += 1
    }
  }

  async #kill(): Promise<void> {
    const { killEvery } = this.#options
    if (killEvery === 0) return
    while (this.#mayGoOn()) {
      await delay(killEvery * 1000)
      const nodes = await this.#watch.statuses()
      const pids = nodes.flatMap(({ workers }) => workers.map(({ pid }) => pid)).filter((pid) => pid > 0)
      const pid = pids[Math.floor(this.#random() * pids.length)]
      if (pid === undefined) continue
      try {
        process.kill(pid, 'SIGKILL')
        this.#counts.kills += 1
      } catch {
        // It has ended by itself.
      }
    }
  }

  async #sample(): Promise<void> {
    for (let nextMs = 0; this.#mayGoOn();) {
      if (this.#seconds * 1000 >= nextMs) {
        say(line(await this.#now()))
        nextMs = this.#seconds * 1000 + sampleMs
      }
      await delay(lookMs)
    }
  }

  async #now(): Promise<Sample> {
    return { seconds: this.#seconds, objects: this.#counts.objects, nodes: await this.#watch.statuses() }
  }

  /** Waits until the stores are empty. Throws when they are not in time. */
  async drain(): Promise<void> {
    say('all is dropped')
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    const endMs = performance.now() + drainMs
    for (;;) {
      // This program has nothing else to do, so its engine would not look for what is free to go.
      collectGarbage()
      const sample = await this.#now()
      const isDone = isEmpty(sample.nodes)
      if (isDone || performance.now() > endMs) say(line(sample))
      if (isDone) return
      if (performance.now() > endMs)
        throw new Error(`the stores are not empty ${drainMs / 1000} s after all was dropped`)
      await delay(lookMs)
    }
  }

  summary(): string {
    const { objects, scenes: played, ownersDied, kills } = this.#counts
    return (
      `${objects} objects in ${played} scenes and ${this.#seconds.toFixed(0)} s; ${kills} workers killed, ` +
      `${ownersDied} scenes ended with the owner of an object; seed ${this.#options.seed}`
    )
  }
}

function pick(random: () => number): Scene {
  const total = scenes.reduce((sum, [weight]) => sum + weight, 0)
  let at = random() * total
  for (const [weight, scene] of scenes) if ((at -= weight) < 0) return scene
  return (scenes[0] as (typeof scenes)[number])[1]
}

/** Rejects with an error that names what has failed, or takes too long. */
async function inTime(promise: Promise<void>, what: string): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`${what} has not ended within ${sceneMs / 1000} s`)), sceneMs)
  try {
    await Promise.race([promise, late])
  } catch (cause) {
    throw new Error(`${what} has failed`, { cause })
  } finally {
    clearTimeout(timer)
  }
}

function describe(error: unknown): string {
  const { name, message, code, cause } = error as Error & { code?: string }
  const why = cause === undefined ? '' : `\n  because of ${describe(cause)}`
  return `${name}${code === undefined ? '' : ` (${code})`}: ${message}${why}`
}
