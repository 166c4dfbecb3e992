import { setTimeout as delay } from 'node:timers/promises'
import type { LocalMesh } from '../../node/local-mesh/local-mesh.ts'
import type { Tally } from './tally.ts'
import type { Watch } from './watch.ts'

/** So long a node stays away at most. */
const awayMsMax = 8000

export interface KillerParts {
  mesh: LocalMesh
  watch: Watch
  tally: Tally
  random: () => number
  /** Ends the killing. */
  signal: AbortSignal
}

/** Kills workers, and nodes other than the first, as a power cut would: without a word. */
export class Killer {
  readonly #parts: KillerParts

  constructor(parts: KillerParts) {
    this.#parts = parts
  }

  /** Kills a worker every so many seconds, until the signal. */
  async workers(everySeconds: number): Promise<void> {
    const { watch, tally, random } = this.#parts
    while (await this.#pause(everySeconds * 1000)) {
      const states = await watch.states()
      const pids = states.flatMap((state) => state?.workers ?? []).flatMap(({ pid }) => (pid > 0 ? [pid] : []))
      const pid = pids[Math.floor(random() * pids.length)]
      if (pid === undefined) continue
      try {
        process.kill(pid, 'SIGKILL')
        tally.kills.workers += 1
      } catch {
        // It has ended by itself.
      }
    }
  }

  /** Kills a node every so many seconds and starts it anew, until the signal. All are there at the end. */
  async nodes(everySeconds: number): Promise<void> {
    const { mesh, watch, tally, random } = this.#parts
    while (await this.#pause(everySeconds * 1000)) {
      const index = 1 + Math.floor(random() * (mesh.nodes.length - 1))
      const victim = mesh.nodes[index]
      if (victim === undefined) continue
      watch.away(index)
      process.kill(victim.pid, 'SIGKILL')
      tally.kills.nodes += 1
      await mesh.ended[index]
      await this.#pause(random() * awayMsMax)
      await watch.back(index, await mesh.restart(index))
    }
  }

  /** False when it was cut short. */
  async #pause(ms: number): Promise<boolean> {
    const { signal } = this.#parts
    try {
      await delay(ms, undefined, { signal })
      return true
    } catch {
      return false
    }
  }
}
