import type { SimulatedNode } from './routing-node.ts'
import { pick } from './routing-wishes.ts'
import type { RoutingWorld } from './routing-world.ts'

/**
 * What befalls a world for a while, each at its own pace: requests in any case, and of the mishaps those that belong to
 * its weather.
 */
export class RoutingStorm {
  readonly #world: RoutingWorld
  readonly #random: () => number
  /** Nodes stay, can reach each other, and have one head. */
  readonly isMild: boolean
  readonly #kinds: { everyMs: number; happen: () => void }[] = []

  constructor(world: RoutingWorld) {
    this.#world = world
    const random = (this.#random = world.random)
    const isFine = random() < 0.2
    const add = (share: number, everyMs: number, happen: () => void): boolean => {
      const isOn = !isFine && random() < share
      if (isOn) this.#kinds.push({ everyMs, happen })
      return isOn
    }
    this.#kinds.push({ everyMs: 60, happen: () => this.#askForSome() })
    const breaksLinks = add(0.6, 400, () => this.#breakLink())
    const crashes = add(0.4, 1_200, () => this.#crashNode())
    const changesHead = add(0.5, 900, () => this.#changeHead())
    add(0.5, 700, () => this.#endDriver())
    add(0.5, 300, () => this.#killWorker())
    this.isMild = !breaksLinks && !crashes && !changesHead
  }

  begin(): void {
    for (const { everyMs, happen } of this.#kinds) this.#goOn(everyMs, happen)
  }

  #goOn(everyMs: number, happen: () => void): void {
    this.#world.clock.after(this.#random() * 2 * everyMs, () => {
      if (this.#world.isCalm) return
      happen()
      this.#goOn(everyMs, happen)
    })
  }

  #askForSome(): void {
    const random = this.#random
    const driver = pick(random, this.#world.drivers())
    if (driver === undefined) return
    const count = 1 + Math.floor(random() * 5)
    for (let each = 0; each < count; each++) {
      const requestId = driver.request(this.#world.wish())
      if (random() > 0.15) continue
      this.#world.clock.after(random() * 100, () => {
        if (!driver.isDead && driver.requests.get(requestId)?.state === 'open') driver.cancel(requestId)
      })
    }
    const lease = pick(random, driver.leases.values())
    if (lease !== undefined && random() < 0.05) driver.kill(lease)
  }

  #breakLink(): void {
    const { network, clock } = this.#world
    const [a, b] = [this.#anyNode(), this.#anyNode()]
    if (a === undefined || b === undefined || a === b) return
    this.#world.count('links broken')
    network.cut(a.id, b.id)
    clock.after(this.#random() * 2_000, () => {
      if (!a.isDead && !b.isDead) network.connect(a, b)
    })
  }

  #crashNode(): void {
    const node = this.#anyNode()
    if (node === undefined || this.#world.nodes.size < 2) return
    this.#world.count('crashes')
    this.#world.crash(node)
    this.#world.clock.after(this.#random() * 2_000, () => this.#world.start(node.id))
  }

  /** Another node leads, or the same one anew: at once, or after a while without any. */
  #changeHead(): void {
    const hasGap = this.#random() < 0.4
    if (hasGap) this.#world.elect(undefined)
    this.#world.clock.after(hasGap ? 300 + this.#random() * 1_000 : 0, () => this.#world.elect(this.#anyNode()))
  }

  #endDriver(): void {
    const driver = pick(this.#random, this.#world.drivers())
    if (driver === undefined) return
    driver.node.driverGone(driver)
    driver.node.addDriver()
  }

  #killWorker(): void {
    const node = this.#anyNode()
    const worker = pick(this.#random, node?.pool.all() ?? [])
    if (worker !== undefined) node?.pool.kill(worker.workerId, 'signal SIGKILL', true)
  }

  #anyNode(): SimulatedNode | undefined {
    return pick(this.#random, this.#world.nodes.values())
  }
}
