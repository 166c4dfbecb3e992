import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { startLocalMesh, type LocalMesh } from '../../node/local-mesh/local-mesh.ts'
import { init, shutdown } from '../../sdk/index.ts'
import { seededRandom } from '../demo/seeded-random.ts'
import { growthOf, heading, isFlat, line, sampleOf, type Sample } from './curve.ts'
import { Killer } from './killer.ts'
import type { Seen } from './leftovers.ts'
import { scenes, type Scene, type Stage } from './scenes.ts'
import { Tally } from './tally.ts'
import { leftInStores, Watch } from './watch.ts'

export interface SoakOptions {
  minutes: number
  seed: number
  objects: number
  rate: number
  store: number
  killEvery: number
  killNodesEvery: number
  json?: boolean
}

const nodeCount = 3
const scenesAtOnce = 6
const shelfMax = 80
/** Seconds between two lines; more in long runs, which have so many lines at most. */
const sampleSeconds = 15
const samplesMax = 240
const lookMs = 500
/** All must be gone so long after the last ref was dropped. */
const drainMs = 120_000
/** A scene that takes longer hangs. */
const sceneMs = 120_000
/** The store may have no room for a while, when all that is in it is being looked at: so often a scene is given up for it. */
const fullInARowMax = 20
const fullRestMs = 500

/** Runs the load, and waits until nothing is left of it. Gives the exit code. */
export async function runSoak(options: SoakOptions): Promise<number> {
  const soak = new Soak(options)
  const problem = await soak.run().then(
    () => '',
    (error: unknown) => describe(error),
  )
  soak.say(soak.summary())
  if (problem !== '') soak.say(`FAILED: ${problem}`)
  if (options.json === true) process.stdout.write(`${JSON.stringify({ problem, ...soak.toJson() })}\n`)
  return problem === '' ? 0 : 1
}

class Soak {
  readonly #options: SoakOptions
  readonly #random: () => number
  readonly #startedMs = performance.now()
  readonly #tally = new Tally()
  readonly #samples: Sample[] = []
  readonly #stage: Stage
  readonly #over = new AbortController()

  constructor(options: SoakOptions) {
    this.#options = options
    this.#random = seededRandom(options.seed)
    this.#stage = { random: this.#random, tally: this.#tally, shelf: [], shelfMax }
  }

  say(text: string): void {
    const stream = this.#options.json === true ? process.stderr : process.stdout
    stream.write(`${text}\n`)
  }

  get #seconds(): number {
    return (performance.now() - this.#startedMs) / 1000
  }

  /** Throws when something is wrong, or left. */
  async run(): Promise<void> {
    const seen = await this.#runMesh()
    const left = await seen.leftovers()
    if (left.length > 0) throw new Error(`when all nodes had ended, there were still: ${left.join(', ')}`)
    const grown = growthOf(this.#samples)?.find((growth) => !isFlat(growth))
    if (grown === undefined) return
    throw new Error(`the memory of ${grown.ofWhat} has grown from ${grown.fromMiB} to ${grown.toMiB} MiB`)
  }

  async #runMesh(): Promise<Seen> {
    const { store } = this.#options
    await using mesh = await startLocalMesh({
      nodes: nodeCount,
      cpus: 2,
      options: { storeBytesMax: store * 2 ** 20 },
    })
    await init({ address: (mesh.nodes[0] as { socketPath: string }).socketPath })
    try {
      using watch = await Watch.open(mesh.nodes)
      await this.#load(mesh, watch)
      await this.#drain(watch)
      return watch.seen
    } finally {
      await shutdown()
    }
  }

  async #load(mesh: LocalMesh, watch: Watch): Promise<void> {
    this.say(heading)
    const { killEvery, killNodesEvery } = this.#options
    const { signal } = this.#over
    const killer = new Killer({ mesh, watch, tally: this.#tally, random: this.#random, signal })
    const parts = [
      ...Array.from({ length: scenesAtOnce }, () => this.#act()),
      this.#sample(watch),
      ...(killEvery === 0 ? [] : [killer.workers(killEvery)]),
      ...(killNodesEvery === 0 ? [] : [killer.nodes(killNodesEvery)]),
    ]
    try {
      await Promise.all(parts)
    } finally {
      this.#over.abort()
      this.#stage.shelf.length = 0
      // A node may be on its way back.
      await Promise.allSettled(parts)
    }
  }

  get #isOver(): boolean {
    const { minutes, objects } = this.#options
    if (this.#seconds >= minutes * 60 && this.#tally.objects >= objects) this.#over.abort()
    return this.#over.signal.aborted
  }

  async #act(): Promise<void> {
    for (let fullInARow = 0; !this.#isOver;) {
      await this.#turn()
      const scene = pick(this.#random)
      try {
        await inTime(scene(this.#stage), `the scene ${scene.name}`)
        this.#tally.scenes += 1
        fullInARow = 0
      } catch (error) {
        if (++fullInARow > fullInARowMax) throw error
        this.#tally.allow(error, 'OBJECT_STORE_FULL')
        await delay(fullRestMs)
      }
    }
  }

  /** Waits while more objects have been made than should be by now. */
  async #turn(): Promise<void> {
    const { rate } = this.#options
    if (rate === 0) return
    const aheadMs = (this.#tally.objects / rate - this.#seconds) * 1000
    if (aheadMs > 0) await delay(aheadMs, undefined, { signal: this.#over.signal }).catch(() => {})
  }

  async #sample(watch: Watch): Promise<void> {
    const everySeconds = Math.max(sampleSeconds, (this.#options.minutes * 60) / samplesMax)
    for (let next = 0; !this.#isOver;) {
      if (this.#seconds >= next) {
        this.#samples.push(await this.#now(watch))
        this.say(line(this.#samples.at(-1) as Sample))
        next += everySeconds
      }
      await delay(lookMs)
    }
  }

  async #now(watch: Watch): Promise<Sample> {
    return sampleOf(this.#seconds, this.#tally, await watch.states())
  }

  /** Waits until the stores are empty. Throws when they are not in time. */
  async #drain(watch: Watch): Promise<void> {
    this.say('all is dropped')
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    const endMs = performance.now() + drainMs
    for (;;) {
      // This program has nothing else to do, so its engine would not look for what is free to go.
      collectGarbage()
      const states = await watch.states()
      const left = leftInStores(states)
      const isLate = performance.now() > endMs
      if (left === '' || isLate) this.say(line(sampleOf(this.#seconds, this.#tally, states)))
      if (left === '') return
      if (isLate) throw new Error(`${drainMs / 1000} s after all was dropped, ${left}`)
      await delay(lookMs)
    }
  }

  summary(): string {
    const { objects, scenes: played, kills, errors } = this.#tally
    const counted = Object.entries(errors).map(([code, count]) => `${count} of ${code}`)
    const growth = growthOf(this.#samples)?.map(
      ({ ofWhat, fromMiB, toMiB }) => `; private memory of ${ofWhat} from ${fromMiB} to ${toMiB} MiB`,
    )
    return (
      `${objects} objects in ${played} scenes and ${this.#seconds.toFixed(0)} s; ${kills.workers} workers killed, ` +
      `${kills.nodes} nodes killed; errors that are allowed: ${counted.join(', ') || 'none'}${growth?.join('') ?? ''}; ` +
      `seed ${this.#options.seed}`
    )
  }

  toJson(): object {
    const { objects, scenes: played, kills, errors } = this.#tally
    const growth = growthOf(this.#samples) ?? []
    const { json: _, ...options } = this.#options
    const seconds = Math.round(this.#seconds)
    return { options, seconds, objects, scenes: played, kills, errors, growth, curve: this.#samples }
  }
}

function pick(random: () => number): Scene {
  const total = scenes.reduce((sum, [weight]) => sum + weight, 0)
  let at = random() * total
  for (const [weight, scene] of scenes) if ((at -= weight) < 0) return scene
  return (scenes[0] as (typeof scenes)[number])[1]
}

/** Rejects like the promise, or when that takes too long. */
async function inTime(promise: Promise<void>, what: string): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`${what} has not ended within ${sceneMs / 1000} s`)), sceneMs)
  try {
    await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

function describe(error: unknown): string {
  const { name, message, code, cause } = error as Error & { code?: string }
  const why = cause === undefined ? '' : `\n  because of ${describe(cause)}`
  return `${name}${code === undefined ? '' : ` (${code})`}: ${message}${why}`
}
