import { get, init, kill, remote, type ActorHandle } from '../../sdk/index.ts'
import type { Benchmark } from './benchmark.ts'
import { oneByOneWarmUpMs, rate } from './rate.ts'
import { attachToTwoNodes } from './remote-calls.ts'

/** Ray's microbenchmark actor, with a large result besides. */
class Actor {
  readonly #bytes = new Uint8Array(100 * 1024)

  smallValue(): string {
    return 'ok'
  }

  largeValue(): Uint8Array {
    return this.#bytes
  }
}

/** The same with async methods, so that its calls interleave. */
class AsyncActor {
  async smallValue(): Promise<string> {
    return 'ok'
  }
}

/** Calls another actor, as a client of its own. */
class Client {
  async callBatch(server: ActorHandle<typeof Actor>, calls: number): Promise<void> {
    await get(Array.from({ length: calls }, () => server.smallValue.remote()))
  }
}

const RemoteActor = remote(Actor)
const RemoteClient = remote(Client)
const calls = 1000
const clients = 4
const many = 100

/** Actors: the names of Ray's microbenchmark where it has them, and what they mean there. */
export const actorBenchmarks: readonly Benchmark[] = [
  rate({
    name: '1:1 actor calls sync',
    warmUpMs: oneByOneWarmUpMs,
    prepare: () => {
      const actor = RemoteActor.remote()
      return () => get(actor.smallValue.remote())
    },
  }),
  rate({
    name: '1:1 actor calls async',
    operations: calls,
    prepare: () => {
      const actor = RemoteActor.remote()
      return () => get(Array.from({ length: calls }, () => actor.smallValue.remote()))
    },
  }),
  rate({
    name: '1:1 async-actor calls sync',
    warmUpMs: oneByOneWarmUpMs,
    prepare: () => {
      const actor = remote(AsyncActor).remote()
      return () => get(actor.smallValue.remote())
    },
  }),
  rate({
    name: '1:1 async-actor calls async',
    operations: calls,
    prepare: () => {
      const actor = remote(AsyncActor).remote()
      return () => get(Array.from({ length: calls }, () => actor.smallValue.remote()))
    },
  }),
  rate({
    name: '1:n actor calls async',
    operations: calls,
    prepare: () => {
      const actors = Array.from({ length: clients }, () => RemoteActor.remote())
      const share = calls / clients
      return () => get(actors.flatMap((actor) => Array.from({ length: share }, () => actor.smallValue.remote())))
    },
  }),
  rate({
    name: 'n:1 actor calls async',
    operations: clients * calls,
    prepare: () => {
      const server = RemoteActor.remote()
      const callers = Array.from({ length: clients }, () => RemoteClient.remote())
      return () => get(callers.map((caller) => caller.callBatch.remote(server, calls)))
    },
  }),
  rate({
    name: 'n:n actor calls async',
    operations: clients * calls,
    prepare: () => {
      const pairs = Array.from({ length: clients }, () => [RemoteClient.remote(), RemoteActor.remote()] as const)
      return () => get(pairs.map(([caller, server]) => caller.callBatch.remote(server, calls)))
    },
  }),
  rate({
    name: '1:1 actor calls async (100 KiB results)',
    operations: 100,
    prepare: () => {
      const actor = RemoteActor.remote()
      return () => get(Array.from({ length: 100 }, () => actor.largeValue.remote()))
    },
  }),
  rate({
    name: 'actor on another node, sync',
    warmUpMs: oneByOneWarmUpMs,
    attach: attachToTwoNodes,
    prepare: () => {
      const actor = RemoteActor.options({ numCpus: 1 }).remote()
      return () => get(actor.smallValue.remote())
    },
  }),
  rate({
    name: 'actor on another node, async',
    attach: attachToTwoNodes,
    operations: calls,
    prepare: () => {
      const actor = RemoteActor.options({ numCpus: 1 }).remote()
      return () => get(Array.from({ length: calls }, () => actor.smallValue.remote()))
    },
  }),
  {
    name: `${many} actors created and called once`,
    async measure({ rounds, profiled }) {
      await using _ = await init({ embedded: true })
      // The class is on its way to the node only once.
      const first = RemoteActor.remote()
      await get(first.smallValue.remote())
      kill(first)
      const values = await profiled(async () => {
        const found: number[] = []
        for (let round = 0; round < rounds; round++) {
          const startedAt = performance.now()
          const actors = Array.from({ length: many }, () => RemoteActor.remote())
          await get(actors.map((actor) => actor.smallValue.remote()))
          found.push((performance.now() - startedAt) / 1000)
          for (const actor of actors) kill(actor)
        }
        return found
      })
      return [{ name: `${many} actors created and called once`, unit: 's', values }]
    },
  },
]
