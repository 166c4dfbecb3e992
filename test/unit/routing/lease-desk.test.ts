import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { LeaseBook } from '../../../node/leases/lease-book.ts'
import { LeaseRouter } from '../../../node/routing/lease-router.ts'
import { LeaseDesk } from '../../../node/server/lease-desk.ts'
import type { RoutedRequest, RouterAction, RouterEvent } from '../../../node/routing/router-events.ts'
import type { LeaseEnd } from '../../../node/server/lease-end.ts'
import type { PeerMessageBody } from '../../../protocols/peer-messages.ts'
import { nodeOf } from '../../../protocols/ids.ts'
import { defaultStrategy } from '../../../protocols/scheduling.ts'

const self = '00000000000000aa'
const home = '00000000000000bb'
const third = '00000000000000cc'
const driver = `${self}0000000000000001`
/** A worker of this node, as an owner. */
const nested = `${self}0000000000000002`
const stranger = `${home}0000000000000001`
const farAway = `${third}0000000000000001`

type Told = readonly [to: string, what: string, ...details: unknown[]]

/** A lease desk whose clients and neighbours only write down what they are told. */
class DeskHarness {
  readonly desk: LeaseDesk
  /** Nodes that a link leads to. */
  readonly linked = new Set([home, third])
  /** The pool knows the workers that it has started. */
  hasWorkers = true
  readonly #local = new Set([driver, nested])
  readonly #ends = new Map<string, LeaseEnd>()
  #told: Told[] = []

  constructor(t: TestContext, cpus = 1, groups: object = {}) {
    const book = new LeaseBook({ total: { CPU: cpus } })
    const router = new LeaseRouter({ self, labels: {}, local: book })
    const isLocal = (client: string): boolean => nodeOf(client) === self
    const get = (client: string): LeaseEnd | undefined => {
      const isKnown = isLocal(client) ? this.#local.has(client) : this.linked.has(nodeOf(client))
      return isKnown ? this.end(client) : undefined
    }
    const started: number[] = []
    const tell = (to: string, what: string, ...details: unknown[]): void => void this.#told.push([to, what, ...details])
    this.desk = new LeaseDesk({
      book,
      router,
      directory: { self, isLocal, get } as never,
      pool: {
        start: ({ workerId }: { workerId: number }) => started.push(workerId),
        get: (workerId: number) => (this.hasWorkers ? { client: this.end(`${self}worker${workerId}`) } : undefined),
        leased: () => {},
        kill: (workerId: number) => tell('pool', 'kill', workerId),
      } as never,
      neighbours: {
        askLease: (node, { requestId }, mayWait) => tell(node, 'ask', requestId, mayWait),
        cancelAsk: (node, { requestId }) => tell(node, 'cancel', requestId),
        refuseAsk: (node, { requestId }, { error }) => tell(node, 'refuse', requestId, error),
        returnLease: (node, _, leaseId) => tell(node, 'return', leaseId),
        killLease: (node, _, leaseId) => tell(node, 'kill', leaseId),
        tellHead: () => {},
        nodesAble: () => 1,
        whyForbidden: () => undefined,
      },
      ...(Object.keys(groups).length === 0 ? {} : { groups: groups as never }),
      now: () => 1_000,
    })
    t.after(() => this.desk.close())
    this.desk.open()
    for (const workerId of started) this.desk.workerReady(workerId)
    for (const node of this.linked) this.desk.route({ type: 'linkUp', node })
    this.desk.route({ type: 'headChanged', head: home })
  }

  end(id: string): LeaseEnd {
    let end = this.#ends.get(id)
    const send = (what: string, body: unknown): void => void this.#told.push([id, what, body])
    if (end === undefined) this.#ends.set(id, (end = { id, wantsLogs: false, unsentBytes: 0, send, forward: () => {} }))
    return end
  }

  /** What is told because of this, to all or to one. */
  told(because: (desk: LeaseDesk) => void, to?: string): readonly Told[] {
    this.#told = []
    because(this.desk)
    return this.#told.filter(([who]) => to === undefined || who === to)
  }

  clientGone(client: string): void {
    this.#local.delete(client)
    this.desk.clientGone(client)
  }

  linkDown(node: string, clients: readonly string[]): void {
    this.linked.delete(node)
    this.desk.nodeGone(node, clients, 'the link is broken')
  }

  request(requestId: number, client = driver, job = client, envKey = ''): void {
    const terms = { resources: { CPU: 1 }, strategy: defaultStrategy, envVars: {}, isRetriable: false, isActor: false }
    const common = { ...terms, depth: 0, label: 'f' }
    this.desk.request(this.end(client), { ...common, envKey, requestId, job })
  }

  /** A lease of a client of this node on a worker of another. */
  leaseAt(node: string, leaseId: number, client = driver, job = client): void {
    const requestId = leaseId + 1_000
    this.request(requestId, client, job)
    this.desk.route({ type: 'placed', client, requestId, node, mayWait: true })
    this.desk.granted(node, client, {
      requestId,
      leaseId,
      workerId: `${node}0000000000000009`,
      workerPid: 1,
      gpuIds: [],
      nodesAble: 1,
    })
  }
}

function ask(requestId: number, job = stranger): PeerMessageBody<'leaseAsk'> {
  const terms = { resources: { CPU: 1 }, envVars: {}, envKey: '', isRetriable: false, isActor: false }
  const common = { ...terms, depth: 0, label: 'f', mayWait: true }
  return { ...common, strategy: { kind: 'default' }, client: stranger, requestId, job }
}

describe('leases of clients of other nodes', () => {
  test('are granted once, however often they are asked for', (t) => {
    const harness = new DeskHarness(t)
    const [first] = harness.told((desk) => desk.ask(home, ask(1)), stranger)
    assert.equal(first?.[1], 'leaseGrant')
    assert.deepEqual(
      harness.told((desk) => desk.ask(home, ask(1))),
      [first],
      'only the same answer again',
    )
    assert.equal(harness.desk.routes.size, 1)
  })

  test('are told again to those who may not know of them', (t) => {
    const harness = new DeskHarness(t, 2)
    const first = harness.told((desk) => desk.ask(home, ask(1)), stranger)
    harness.request(1)
    harness.desk.route({ type: 'placed', client: driver, requestId: 1, node: self, mayWait: true })
    assert.equal(harness.desk.routes.size, 2)
    assert.deepEqual(
      harness.told((desk) => desk.sayGrantsAgain()),
      first,
    )
  })

  test('end with the link', (t) => {
    const harness = new DeskHarness(t)
    harness.desk.ask(home, ask(1))
    assert.deepEqual(
      harness.told(() => harness.linkDown(home, [stranger])),
      [['pool', 'kill', 1]],
    )
    assert.equal(harness.desk.routes.size, 0)
  })

  test('are for the home to seek elsewhere when only this node cannot reach the program', (t) => {
    const harness = new DeskHarness(t)
    harness.linked.delete(third)
    assert.deepEqual(
      harness.told((desk) => desk.ask(home, ask(1, farAway))),
      [[home, 'refuse', 1, 'busy']],
    )
    assert.deepEqual(
      harness.told((desk) => desk.ask(home, ask(2, `${self}00000000000000ff`))),
      [[home, 'refuse', 2, 'workerLimit']],
      'a program of this node that is not there has ended',
    )
  })

  test('and requests for them are so too when it cannot reach the program any more', (t) => {
    const harness = new DeskHarness(t)
    harness.desk.ask(home, ask(1))
    harness.desk.ask(home, ask(2, farAway))
    assert.deepEqual(
      harness.told(() => harness.linkDown(third, [farAway])),
      [[home, 'refuse', 2, 'busy']],
    )
  })
})

describe('leases on other nodes', () => {
  test('are kept when their grant comes twice', (t) => {
    const harness = new DeskHarness(t)
    harness.leaseAt(home, 7)
    const grant = {
      requestId: 1_007,
      leaseId: 7,
      workerId: `${home}0000000000000009`,
      workerPid: 1,
      gpuIds: [],
      nodesAble: 1,
    }
    assert.deepEqual(
      harness.told((desk) => desk.granted(home, driver, grant)),
      [],
    )
    assert.equal(harness.desk.remote.count, 1)
  })

  test('go back when nobody waits for them', (t) => {
    const harness = new DeskHarness(t)
    const grant = {
      requestId: 1,
      leaseId: 7,
      workerId: `${home}0000000000000009`,
      workerPid: 1,
      gpuIds: [],
      nodesAble: 1,
    }
    assert.deepEqual(
      harness.told((desk) => desk.granted(home, driver, grant)),
      [[home, 'return', 7]],
    )
  })

  test('are not returned when their owner is gone: a task of its may run there', (t) => {
    const harness = new DeskHarness(t)
    harness.leaseAt(home, 7)
    assert.deepEqual(
      harness.told(() => harness.clientGone(driver)),
      [],
    )
    assert.equal(harness.desk.remote.count, 0)
  })

  test('are ended there when the program is gone from here', (t) => {
    const harness = new DeskHarness(t)
    harness.leaseAt(home, 7, nested, farAway)
    const told = harness.told(() => harness.linkDown(third, [farAway]))
    assert.deepEqual(
      told.map(([to, what]) => [to, what]),
      [
        [nested, 'leaseLost'],
        [home, 'kill'],
      ],
    )
    assert.equal(harness.desk.remote.count, 0)
  })

  test('are lost with the link', (t) => {
    const harness = new DeskHarness(t)
    harness.leaseAt(home, 7)
    assert.deepEqual(
      harness.told(() => harness.linkDown(home, [])).map(([to, what]) => [to, what]),
      [[driver, 'leaseLost']],
    )
    assert.equal(harness.desk.remote.count, 0)
  })
})

describe('a client that goes', () => {
  test('gets nothing of what its program leaves free', (t) => {
    const harness = new DeskHarness(t)
    // It holds the CPU while a worker with its environment is started; the plain worker stays idle.
    harness.request(1, nested, driver, 'torch')
    harness.desk.route({ type: 'placed', client: nested, requestId: 1, node: self, mayWait: true })
    harness.request(2)
    harness.desk.route({ type: 'placed', client: driver, requestId: 2, node: self, mayWait: true })
    assert.deepEqual(
      harness.told(() => harness.clientGone(driver)).map(([to, what]) => [to, what]),
      [[nested, 'leaseRefuse']],
    )
    assert.equal(harness.desk.routes.size, 0)
  })
})

describe('a request at the own node', () => {
  const terms = { strategy: defaultStrategy, envVars: {}, isRetriable: false, isActor: false, depth: 0, label: 'f' }
  const large = { ...terms, client: driver, job: driver, requestId: 1, resources: { CPU: 2 }, envKey: 'torch' }
  const small = { ...terms, client: driver, job: driver, requestId: 2, resources: { CPU: 1 }, envKey: '' }
  const askLocal = (request: RoutedRequest): RouterAction => ({ type: 'askLocal', request, mayWait: true })
  const cancelLocal = ({ client, requestId }: RoutedRequest): RouterAction => ({
    type: 'cancelLocal',
    client,
    requestId,
  })
  /** A router that has the requests asked for, and all of them at once asked for again. */
  const groups = () => {
    const rounds = [
      [askLocal(large), askLocal(small)],
      [large, small].flatMap((each) => [cancelLocal(each), askLocal(each)]),
    ]
    const step = ({ type }: RouterEvent): RouterAction[] => (type === 'tick' ? (rounds.shift() ?? []) : [])
    return { has: () => true, step, wantsTick: false, answer: () => {}, bookChanged: () => {} }
  }

  test('is granted once when it is cancelled and asked for again while another leaves it room', (t) => {
    const harness = new DeskHarness(t, 2, groups())
    // The first holds all there is, while its worker is started.
    assert.deepEqual(
      harness.told((desk) => desk.route({ type: 'tick' }), driver),
      [],
    )
    const granted = harness.told((desk) => desk.route({ type: 'tick' }), driver)
    assert.equal(granted.filter(([, what]) => what === 'leaseGrant').length, 1)
    assert.equal(harness.desk.routes.size, 1)
  })

  test('goes on without a worker that is gone by then', (t) => {
    const events: RouterEvent[] = []
    const fake = groups()
    const step = (event: RouterEvent): RouterAction[] => {
      events.push(event)
      return fake.step(event)
    }
    const harness = new DeskHarness(t, 4, { ...fake, step })
    harness.hasWorkers = false
    harness.desk.route({ type: 'tick' })
    assert.equal(harness.desk.routes.size, 0)
    const [refused] = events.filter((event) => event.type === 'localRefused')
    assert.equal(refused?.requestId, small.requestId)
    assert.equal(refused?.refusal.error, 'busy')
  })
})
