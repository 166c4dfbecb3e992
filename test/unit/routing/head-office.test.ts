import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { HeadOffice } from '../../../node/head/head-office.ts'
import type { Advert } from '../../../protocols/advert.ts'
import type { Term } from '../../../protocols/election.ts'
import { defaultStrategy } from '../../../protocols/scheduling.ts'
import { simulatedAdvert } from '../../support/routing-advert.ts'
import { VirtualClock } from '../../support/routing-clock.ts'

const head = '00000000000000aa'
const home = '00000000000000bb'
const other = '00000000000000cc'
const client = `${home}0000000000000001`
const term: Term = { counter: 1, head }

/** A head's office whose letters lie on a pile. */
class OfficeDesk {
  readonly clock = new VirtualClock()
  readonly office: HeadOffice
  #sent: string[] = []

  constructor() {
    const send = (to: string, name: string, body: { requestId: number; node?: string; mayWait?: boolean }): void => {
      const where = body.node === undefined ? '' : ` ${body.node}${body.mayWait === true ? ', may wait' : ''}`
      this.#sent.push(`${name} ${body.requestId} to ${to}${where}`)
    }
    this.office = new HeadOffice({ post: { send } as never, now: () => this.clock.nowMs, log: () => {} })
  }

  /** What is sent while this happens and in the time after it. */
  sent(what: (office: HeadOffice) => void, ms = 10): string[] {
    this.#sent = []
    what(this.office)
    this.clock.run(ms)
    return this.#sent
  }
}

function withDesk(body: (desk: OfficeDesk) => void): void {
  const desk = new OfficeDesk()
  desk.clock.installed(() => body(desk))
}

function state(node: string, version: number, cpus = 4, free = cpus): Advert {
  return simulatedAdvert({ node, version, total: { CPU: cpus }, available: { CPU: free } })
}

function demand(requestId: number, cpus = 1) {
  const resources = { CPU: cpus }
  return { client, requestId, resources, strategy: defaultStrategy, depth: 0, label: 'f', waitedMs: 0 }
}

const key = (requestId: number) => ({ client, requestId })

describe('the head', () => {
  test('names a place among the nodes that have reported, and only those', () => {
    withDesk((desk) => {
      desk.office.start(term)
      assert.deepEqual(
        desk.sent((office) => office.onDemandAdd(home, demand(1))),
        [`demandInfeasible 1 to ${home}`],
      )
      assert.deepEqual(
        desk.sent((office) => office.onState(state(other, 1))),
        [],
        'it has not reported in this term',
      )
      assert.deepEqual(
        desk.sent((office) => office.onReported(state(other, 2))),
        [`demandFeasible 1 to ${home}`, `demandPlace 1 to ${home} ${other}`],
      )
    })
  })

  test('does nothing when it is no head', () => {
    withDesk((desk) => {
      desk.office.start(term)
      desk.sent((office) => office.onReported(state(other, 1)))
      assert.deepEqual(
        desk.sent((office) => {
          office.onDemandAdd(home, demand(1))
          office.stop()
          office.onDemandAdd(home, demand(2))
          office.onState(state(other, 2))
        }, 1_000),
        [],
      )
      assert.equal(desk.office.scheduler, undefined)
    })
  })

  test('knows nothing of the term before', () => {
    withDesk((desk) => {
      desk.office.start(term)
      desk.sent((office) => office.onReported(state(other, 1)))
      desk.sent((office) => office.onDemandAdd(home, demand(1)))
      assert.equal(desk.office.scheduler?.pendingCount, 1)
      desk.office.start({ counter: 2, head })
      assert.equal(desk.office.scheduler.pendingCount, 0)
      assert.deepEqual(
        desk.sent((office) => office.onDemandAdd(home, demand(2))),
        [`demandInfeasible 2 to ${home}`],
      )
    })
  })

  test('takes no demand for the client of another node, and no word about it', () => {
    withDesk((desk) => {
      desk.office.start(term)
      desk.sent((office) => office.onReported(state(other, 1)))
      assert.deepEqual(
        desk.sent((office) => office.onDemandAdd(other, demand(1))),
        [],
      )
      desk.sent((office) => office.onDemandAdd(home, demand(1)))
      desk.sent((office) => office.onDemandRemove(other, { ...key(1), isGranted: true }))
      assert.equal(desk.office.scheduler?.pendingCount, 1)
      desk.sent((office) => office.onDemandRemove(home, { ...key(1), isGranted: true }))
      assert.equal(desk.office.scheduler.pendingCount, 0)
    })
  })

  test('names another place after a refusal', () => {
    withDesk((desk) => {
      desk.office.start(term)
      desk.sent((office) => office.onReported(state(home, 1)))
      desk.sent((office) => office.onReported(state(other, 1, 2)))
      assert.deepEqual(
        desk.sent((office) => office.onDemandAdd(home, demand(1, 2))),
        [`demandPlace 1 to ${home} ${home}`],
      )
      const refused = { ...key(1), node: home, state: [state(home, 2, 4, 1)] }
      assert.deepEqual(
        desk.sent((office) => office.onDemandRefused(home, refused)),
        [`demandPlace 1 to ${home} ${other}`],
      )
    })
  })

  test('names another place after a refusal by a home that knows nothing of the node', () => {
    withDesk((desk) => {
      desk.office.start(term)
      desk.sent((office) => office.onReported(state(home, 5)))
      desk.sent((office) => office.onReported(state(other, 5, 2)))
      desk.sent((office) => office.onDemandAdd(home, demand(1, 2)))
      assert.deepEqual(
        desk.sent((office) => office.onDemandRefused(home, { ...key(1), node: home, state: [] })),
        [`demandPlace 1 to ${home} ${other}`],
      )
      assert.deepEqual(
        desk.sent((office) => office.onDemandRefused(home, { ...key(1), node: other, state: [state(other, 2)] }), 40),
        [`demandPlace 1 to ${home} ${home}, may wait`],
        'what the home knows is older than the refusal: both have refused',
      )
    })
  })

  test('is not told by a refusal of a node that is gone', () => {
    withDesk((desk) => {
      desk.office.start(term)
      desk.sent((office) => office.onReported(state(home, 1)))
      desk.sent((office) => office.onReported(state(other, 1, 8)))
      assert.deepEqual(
        desk.sent((office) => office.onDemandAdd(home, demand(1, 8))),
        [`demandPlace 1 to ${home} ${other}`],
      )
      assert.deepEqual(
        desk.sent((office) => office.onLinkDown(other)),
        [`demandInfeasible 1 to ${home}`],
      )
      const refused = { ...key(1), node: other, state: [state(other, 2, 8)] }
      assert.deepEqual(
        desk.sent((office) => office.onDemandRefused(home, refused), 1_000),
        [],
      )
    })
  })

  test('forgets what a home wants when the link to it is down', () => {
    withDesk((desk) => {
      desk.office.start(term)
      desk.sent((office) => office.onReported(state(other, 1)))
      desk.sent((office) => office.onDemandAdd(home, demand(1, 9)))
      desk.sent((office) => office.onLinkDown(home))
      assert.equal(desk.office.scheduler?.pendingCount, 0)
      assert.deepEqual(
        desk.sent((office) => office.onReported(state(head, 1, 9)), 1_000),
        [],
      )
    })
  })

  test('leaves a demand that is too much alone, and is told of it again', () => {
    withDesk((desk) => {
      desk.office.start(term)
      const { scheduler } = desk.office
      assert.ok(scheduler)
      for (let id = 1; id <= 200_000; id++) {
        const { resources, strategy, depth, label } = demand(id)
        scheduler.add({ key: `x|${id}`, home, resources, strategy, depth, label, requestedAtMs: 0 })
      }
      desk.office.onDemandAdd(home, demand(1))
      assert.equal(scheduler.pendingCount, 200_000)
      desk.office.onDemandRemove(home, { ...key(1), isGranted: false })
      scheduler.remove('x|1')
      desk.office.onDemandAdd(home, demand(1))
      assert.equal(scheduler.pendingCount, 200_000)
      desk.office.stop()
    })
  })
})
