import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  cancelled,
  driver,
  granted,
  home,
  infeasible,
  placed,
  refused,
  request,
  RoutingScript,
} from '../../support/routing-script.ts'

const localGranted = (requestId: number) => ({ type: 'localGranted', client: driver, requestId }) as const
const linkUp = (node: string) => ({ type: 'linkUp', node }) as const
const linkDown = (node: string) => ({ type: 'linkDown', node }) as const
const headChanged = (head: string | undefined) => ({ type: 'headChanged', head }) as const
const clientGone = (client: string) => ({ type: 'clientGone', client }) as const
const feasible = (requestId: number) => ({ type: 'feasible', client: driver, requestId }) as const

describe('a node alone', () => {
  test('asks itself for everything, and the client may wait there', () => {
    const script = new RoutingScript()
    script.at(0, request(1), 'ask here: 1, may wait')
    script.tick(5_000)
    script.at(5_001, localGranted(1))
    assert.equal(script.router.wantsTick, false)
  })

  test('hands on what its own lease book refuses', () => {
    const script = new RoutingScript()
    script.at(0, request(1, { resources: { CPU: 9 } }), 'ask here: 1, may wait')
    script.at(0, refused(1, home, 'infeasible'), 'refuse 1: infeasible, it is infeasible')
    script.at(1, request(2), 'ask here: 2, may wait')
    script.at(1, refused(2, home, 'workerStart'), 'refuse 2: workerStart, it is workerStart')
    assert.deepEqual(script.places(), [])
  })

  test('refuses at once what is for another node, but not what only would rather be there', () => {
    const script = new RoutingScript()
    script.at(
      0,
      request(1, { strategy: { kind: 'node', node: 'a', isSoft: false } }),
      'refuse 1: infeasible, asked for node a, which this node (home) cannot reach',
    )
    script.at(0, request(2, { strategy: { kind: 'node', node: 'a', isSoft: true } }), 'ask here: 2, may wait')
    script.at(0, request(3, { strategy: { kind: 'node', node: home, isSoft: false } }), 'ask here: 3, may wait')
    script.at(0, request(4, { strategy: { kind: 'spread' } }), 'ask here: 4, may wait')
  })

  test('looks at its own labels', () => {
    const script = new RoutingScript({ labels: { zone: 'lab1' } })
    const inZone = (zone: string) => ({ strategy: { kind: 'labels', selector: { zone: { in: [zone] } } } }) as const
    script.at(0, request(1, inZone('lab1')), 'ask here: 1, may wait')
    script.at(
      0,
      request(2, inZone('lab2')),
      'refuse 2: infeasible, asked for labels {"zone":{"in":["lab2"]}}, and the only node in reach has {"zone":"lab1"}',
    )
  })

  test('takes a repeated request for the same one', () => {
    const script = new RoutingScript()
    script.at(0, request(1), 'ask here: 1, may wait')
    script.at(1, request(1))
    script.at(2, request(1, { client: 'another' }), 'ask here: 1, may wait')
  })

  test('is joined by others: what waits is told to the head after a while', () => {
    const script = new RoutingScript()
    script.at(0, request(1), 'ask here: 1, may wait')
    script.at(1_000, linkUp('a'))
    script.tick(1_050)
    script.at(1_100, headChanged('a'), 'tell a: add 1, waited 1100')
    script.at(1_110, placed(1, 'a'), 'cancel here: 1', 'ask a: 1, now')
    script.at(1_120, granted(1, 'a', 7), 'accept 1: lease 7 of a for driver', 'tell a: remove 1, granted')
  })
})

describe('a node among others', () => {
  test('with ample room asks itself; the head hears of it only when it takes long', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.isRoomy = true
    script.at(0, request(1), 'ask here: 1, may wait')
    script.tick(150)
    script.tick(200, 'tell a: add 1, waited 200')
    script.tick(250)
    script.at(300, localGranted(1), 'tell a: remove 1, granted')
  })

  test('asks the head for what is rather not to come here, and serves it when there is nobody else', () => {
    const avoid = { strategy: { kind: 'default', avoid: [home] } } as const
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.isRoomy = true
    script.at(0, request(1, avoid), 'tell a: add 1, waited 0')
    script.at(5, placed(1, 'a'), 'ask a: 1, now')
    const alone = new RoutingScript()
    alone.at(0, request(1, avoid), 'ask here: 1, may wait')
  })

  test('that serves it soon says nothing to the head', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.isRoomy = true
    script.at(0, request(1), 'ask here: 1, may wait')
    script.at(1, localGranted(1))
    script.at(2, request(2), 'ask here: 2, may wait')
    script.at(3, cancelled(2), 'cancel here: 2')
  })

  test('asks the head for all but what is plainly its own', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.isRoomy = true
    script.at(0, request(1, { strategy: { kind: 'spread' } }), 'tell a: add 1, waited 0')
    script.at(0, request(2, { strategy: { kind: 'node', node: 'a', isSoft: true } }), 'tell a: add 2, waited 0')
    script.isRoomy = false
    script.at(0, request(3), 'tell a: add 3, waited 0')
    script.at(0, request(4, { strategy: { kind: 'node', node: home, isSoft: false } }), 'ask here: 4, may wait')
    const tooMuch = { resources: { CPU: 9 }, strategy: { kind: 'node', node: home, isSoft: false } } as const
    script.at(0, request(5, tooMuch), 'tell a: add 5, waited 0')
  })

  test('takes the place that the head names: here', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(10, placed(1, home), 'ask here: 1, now')
    script.at(10, placed(1, home, 'may wait'))
    script.at(11, localGranted(1), 'tell a: remove 1, granted')
  })

  test('takes the place that the head names: there', () => {
    const script = new RoutingScript({ links: ['a', 'b'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(10, placed(1, 'b'), 'ask b: 1, now')
    script.at(11, placed(1, 'b'))
    assert.deepEqual(script.places(), ['1: b'])
    script.at(20, granted(1, 'b', 5), 'accept 1: lease 5 of b for driver', 'tell a: remove 1, granted')
    assert.equal(script.router.has({ client: driver, requestId: 1 }), false)
  })

  test('is the head itself', () => {
    const script = new RoutingScript({ links: ['a'], head: home })
    script.at(0, request(1), 'tell home: add 1, waited 0')
    script.at(1, placed(1, 'a'), 'ask a: 1, now')
    script.at(2, refused(1, 'a', 'busy'), 'tell home: 1 was refused by a')
  })

  test('tells the head of a busy node, and asks the next', () => {
    const script = new RoutingScript({ links: ['a', 'b'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(10, placed(1, 'b'), 'ask b: 1, now')
    script.at(20, refused(1, 'b', 'busy'), 'tell a: 1 was refused by b')
    assert.deepEqual(script.places(), ['1: nowhere'])
    script.at(30, placed(1, home), 'ask here: 1, now')
    script.at(30, refused(1, home, 'busy'), 'tell a: 1 was refused by home')
    script.at(40, placed(1, 'a', 'may wait'), 'ask a: 1, may wait')
  })

  test('tells the head of a node that turns out to be too small', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.isRoomy = true
    script.at(0, request(1), 'ask here: 1, may wait')
    script.at(0, refused(1, home, 'infeasible'), 'tell a: add 1, waited 0')
    script.at(10, placed(1, 'a'), 'ask a: 1, now')
    script.at(20, refused(1, 'a', 'infeasible'), 'tell a: 1 was refused by a')
  })

  test('hands on the refusals that hold whoever is asked, and names the node', () => {
    for (const error of ['workerLimit', 'workerStart', 'forbidden'] as const) {
      const script = new RoutingScript({ links: ['a'], head: 'a' })
      script.at(0, request(1), 'tell a: add 1, waited 0')
      script.at(10, placed(1, 'a'), 'ask a: 1, now')
      script.at(
        20,
        refused(1, 'a', error),
        `refuse 1: ${error}, node a: it is ${error}`,
        'tell a: remove 1, not granted',
      )
    }
  })

  test('moves from one queue to another, and to its own', () => {
    const script = new RoutingScript({ links: ['a', 'b'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(10, placed(1, 'a', 'may wait'), 'ask a: 1, may wait')
    script.at(300, placed(1, 'b'), 'cancel at a: 1', 'ask b: 1, now')
    script.at(600, placed(1, home), 'cancel at b: 1', 'ask here: 1, now')
    script.at(900, placed(1, 'b'), 'cancel here: 1', 'ask b: 1, now')
    assert.deepEqual(script.places(), ['1: b'])
  })

  test('asks again when a place in the queue becomes a place at once', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(10, placed(1, 'a', 'may wait'), 'ask a: 1, may wait')
    script.at(20, placed(1, 'a'), 'cancel at a: 1', 'ask a: 1, now')
  })

  test('does not go where it has no link, and says so', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(10, placed(1, 'b'), 'tell a: 1 was refused by b')
    script.at(20, placed(1, 'a', 'may wait'), 'ask a: 1, may wait')
    script.at(30, placed(1, 'c'), 'tell a: 1 was refused by c')
    assert.deepEqual(script.places(), ['1: a'])
  })

  test('that is sent to and fro by the head says so once in a while only', () => {
    const script = new RoutingScript({ links: ['a', 'b'], head: 'a' })
    script.at(0, request(1, { resources: { CPU: 9 } }), 'tell a: add 1, waited 0')
    script.at(10, placed(1, 'c', 'may wait'), 'tell a: 1 was refused by c')
    script.at(11, placed(1, 'c', 'may wait'))
    script.at(12, placed(1, 'b', 'may wait'), 'ask b: 1, may wait')
    script.at(13, refused(1, 'b', 'busy'), 'tell a: 1 was refused by b')
    script.at(14, placed(1, 'b', 'may wait'), 'ask b: 1, may wait')
    script.at(15, refused(1, 'b', 'busy'))
    script.tick(1_000)
    script.tick(1_015, 'tell a: add 1, waited 1015')
    script.at(1_020, placed(1, 'c', 'may wait'), 'tell a: 1 was refused by c')
    script.at(1_021, headChanged('b'), 'tell b: add 1, waited 1021')
    script.at(1_022, placed(1, 'c', 'may wait'), 'tell b: 1 was refused by c')
  })

  test('that was only busy is told at once, however often', () => {
    const script = new RoutingScript({ links: ['a', 'b'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    for (const nowMs of [10, 20, 30]) {
      script.at(nowMs, placed(1, 'b'), 'ask b: 1, now')
      script.at(nowMs + 5, refused(1, 'b', 'busy'), 'tell a: 1 was refused by b')
    }
  })

  test('tells the head to forget what it does not know', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, placed(1, 'a'), 'tell a: remove 1, not granted')
  })
})

describe('answers that come too late', () => {
  test('a lease for a request that was cancelled goes back', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(10, placed(1, 'a'), 'ask a: 1, now')
    script.at(20, cancelled(1), 'cancel at a: 1', 'tell a: remove 1, not granted')
    script.at(21, granted(1, 'a', 7), 'return to a: lease 7 of driver')
  })

  test('a lease of a place that the request has left goes back', () => {
    const script = new RoutingScript({ links: ['a', 'b'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(10, placed(1, 'a', 'may wait'), 'ask a: 1, may wait')
    script.at(20, placed(1, 'b'), 'cancel at a: 1', 'ask b: 1, now')
    script.at(21, granted(1, 'a', 7), 'return to a: lease 7 of driver')
    script.at(25, granted(1, 'b', 3), 'accept 1: lease 3 of b for driver', 'tell a: remove 1, granted')
  })

  test('a lease of another node goes back while the own one is asked', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(10, placed(1, 'a', 'may wait'), 'ask a: 1, may wait')
    script.at(20, placed(1, home), 'cancel at a: 1', 'ask here: 1, now')
    script.at(21, granted(1, 'a', 7), 'return to a: lease 7 of driver')
    script.at(22, localGranted(1), 'tell a: remove 1, granted')
  })

  test('a refusal by a place that the request has left says nothing', () => {
    const script = new RoutingScript({ links: ['a', 'b'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(10, placed(1, 'a', 'may wait'), 'ask a: 1, may wait')
    script.at(20, placed(1, 'b'), 'cancel at a: 1', 'ask b: 1, now')
    script.at(21, refused(1, 'a', 'workerStart'))
    script.at(21, refused(1, home, 'workerStart'))
    assert.deepEqual(script.places(), ['1: b'])
  })

  test('news of what was never asked is passed over', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, cancelled(1))
    script.at(0, localGranted(1))
    script.at(0, refused(1, home, 'busy'))
    script.at(0, refused(1, 'a', 'busy'))
    script.at(0, infeasible(1, 'never'))
    script.at(0, feasible(1))
  })
})

describe('links that break', () => {
  test('what was with the lost node is told to the head again', () => {
    const script = new RoutingScript({ links: ['a', 'b'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(0, request(2), 'tell a: add 2, waited 0')
    script.at(10, placed(1, 'b', 'may wait'), 'ask b: 1, may wait')
    script.at(10, placed(2, 'a', 'may wait'), 'ask a: 2, may wait')
    script.at(20, linkDown('b'), 'tell a: 1 was refused by b')
    assert.deepEqual(script.places(), ['1: nowhere', '2: a'])
    script.at(30, placed(1, 'b'), 'tell a: 1 was refused by b')
    script.at(31, placed(1, 'b'))
    script.at(40, linkUp('b'))
    script.at(50, placed(1, 'b'), 'ask b: 1, now')
  })

  test('without a head the own node serves what it can, and the rest waits for a head', () => {
    const script = new RoutingScript({ links: ['a', 'b'], head: 'a' })
    const large = { resources: { CPU: 9 } }
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(0, request(2, large), 'tell a: add 2, waited 0')
    script.at(0, request(3), 'tell a: add 3, waited 0')
    script.at(0, request(4, large), 'tell a: add 4, waited 0')
    script.at(0, request(5), 'tell a: add 5, waited 0')
    script.at(10, placed(1, 'a', 'may wait'), 'ask a: 1, may wait')
    script.at(10, placed(2, 'a', 'may wait'), 'ask a: 2, may wait')
    script.at(10, placed(5, 'b', 'may wait'), 'ask b: 5, may wait')
    script.at(20, linkDown('a'), 'ask here: 3, may wait', 'ask here: 1, may wait')
    assert.deepEqual(script.places(), ['1: home', '2: nowhere', '3: home', '4: nowhere', '5: b'])
    script.at(30, request(6), 'ask here: 6, may wait')
    script.at(30, request(7, large))
    script.at(30, request(8, { strategy: { kind: 'node', node: 'b', isSoft: false } }))
    script.at(
      40,
      headChanged('b'),
      ...[1, 2, 3, 4, 5].map((id) => `tell b: add ${id}, waited 40`),
      ...[6, 7, 8].map((id) => `tell b: add ${id}, waited 10`),
    )
  })

  test('the last link goes while the own node is asked: the client may wait there', () => {
    const script = new RoutingScript({ links: ['a'], head: home })
    script.at(0, request(1), 'tell home: add 1, waited 0')
    script.at(1, linkDown('a'))
    script.at(2, placed(1, home), 'ask here: 1, now')
    script.at(2, refused(1, home, 'busy'), 'ask here: 1, may wait')
    script.at(9, localGranted(1), 'tell home: remove 1, granted')
  })

  test('the last link goes, and the node is alone', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, request(1, { strategy: { kind: 'node', node: 'a', isSoft: false } }), 'tell a: add 1, waited 0')
    script.at(0, request(2, { resources: { CPU: 9 } }), 'tell a: add 2, waited 0')
    script.at(10, placed(1, 'a', 'may wait'), 'ask a: 1, may wait')
    script.at(20, linkDown('a'))
    script.tick(1_000)
    script.tick(
      1_020,
      'refuse 1: infeasible, asked for node a, which this node (home) cannot reach',
      'ask here: 2, may wait',
    )
    script.at(1_020, refused(2, home, 'infeasible'), 'refuse 2: infeasible, it is infeasible')
    assert.deepEqual(script.places(), [])
  })
})

describe('a node that knows of others', () => {
  const forA = { strategy: { kind: 'node', node: 'a', isSoft: false } } as const
  const cannotReach = 'infeasible, asked for node a, which this node (home) cannot reach'

  test('waits for them a while with what it cannot serve itself', () => {
    const script = new RoutingScript({ expectsOthers: true })
    script.at(0, request(1, forA))
    script.at(0, request(2, { resources: { CPU: 9 } }), 'ask here: 2, may wait')
    script.at(0, refused(2, home, 'infeasible'))
    script.tick(1_950)
    script.tick(2_000, `refuse 1: ${cannotReach}`, 'refuse 2: infeasible, it is infeasible')
  })

  test('asks the head when they come in time', () => {
    const script = new RoutingScript({ expectsOthers: true })
    script.at(0, request(1, forA))
    script.at(1_000, linkUp('a'))
    script.at(1_500, headChanged('a'), 'tell a: add 1, waited 1500')
    script.tick(2_000)
    script.at(2_100, placed(1, 'a'), 'ask a: 1, now')
  })

  test('gives up at once when it knows of none any more, and tells the head nothing new', () => {
    const script = new RoutingScript({ links: ['a'], head: home })
    script.at(0, request(1, forA), 'tell home: add 1, waited 0')
    script.at(10, linkDown('a'))
    script.tick(1_000, `refuse 1: ${cannotReach}`, 'tell home: remove 1, not granted')
  })
})

describe('heads that change', () => {
  test('the new head is told all that is open, once', () => {
    const script = new RoutingScript({ links: ['a', 'b'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(0, request(2), 'tell a: add 2, waited 0')
    script.at(0, request(3), 'tell a: add 3, waited 0')
    script.at(10, placed(1, 'a', 'may wait'), 'ask a: 1, may wait')
    script.at(10, placed(2, home, 'may wait'), 'ask here: 2, may wait')
    script.at(50, headChanged('b'), ...[1, 2, 3].map((id) => `tell b: add ${id}, waited 50`))
    assert.deepEqual(script.places(), ['1: a', '2: home', '3: nowhere'])
    script.tick(60)
    script.tick(250)
    script.at(260, granted(1, 'a', 1), 'accept 1: lease 1 of a for driver', 'tell b: remove 1, granted')
  })

  test('a new head begins the wait for what no node can serve anew', () => {
    const script = new RoutingScript({ links: ['a', 'b'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(10, infeasible(1, 'no node has that'))
    script.at(1_900, headChanged('b'), 'tell b: add 1, waited 1900')
    script.tick(2_100)
    assert.deepEqual(script.places(), ['1: nowhere'])
  })

  test('a head that does not answer is told again, and the own node does what it can', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, request(1, { resources: { CPU: 9 } }), 'tell a: add 1, waited 0')
    script.at(0, request(2), 'tell a: add 2, waited 0')
    script.tick(950)
    script.tick(1_000, 'tell a: add 1, waited 1000', 'ask here: 2, may wait', 'tell a: add 2, waited 1000')
    script.tick(1_950)
    script.tick(2_000, 'tell a: add 1, waited 2000')
  })
})

describe('what no node can serve', () => {
  const gpu = { resources: { GPU: 1 } }

  test('is refused after a while, with the reason of the head', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, request(1, gpu), 'tell a: add 1, waited 0')
    script.at(10, infeasible(1, 'no node has a GPU'))
    assert.deepEqual(
      Array.from(script.router.waiting(), (waiting) => waiting.infeasible),
      ['no node has a GPU'],
    )
    script.tick(1_000)
    script.tick(2_000)
    script.at(2_005, infeasible(1, 'no node has a GPU, and one has left'))
    script.tick(2_010, 'refuse 1: infeasible, no node has a GPU, and one has left', 'tell a: remove 1, not granted')
    assert.equal(script.router.wantsTick, false)
  })

  test('is served when a node that can comes in time', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, request(1, gpu), 'tell a: add 1, waited 0')
    script.at(10, infeasible(1, 'no node has a GPU'))
    script.at(1_500, linkUp('b'))
    script.at(1_600, feasible(1))
    script.at(1_600, placed(1, 'b', 'may wait'), 'ask b: 1, may wait')
    script.tick(2_100)
    script.at(2_200, granted(1, 'b', 2), 'accept 1: lease 2 of b for driver', 'tell a: remove 1, granted')
  })

  test('stands in a queue while the head changes its mind: it stays there', () => {
    const script = new RoutingScript({ links: ['a', 'b'], head: 'a' })
    script.at(0, request(1, gpu), 'tell a: add 1, waited 0')
    script.at(10, placed(1, 'b', 'may wait'), 'ask b: 1, may wait')
    script.at(20, infeasible(1, 'no node has a GPU'))
    script.tick(2_015, 'ask b: 1, may wait')
    assert.deepEqual(script.places(), ['1: b'])
  })
})

describe('messages that are lost', () => {
  test('a node that does not answer is asked again, as before', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(0, request(2), 'tell a: add 2, waited 0')
    script.at(10, placed(1, 'a', 'may wait'), 'ask a: 1, may wait')
    script.at(100, placed(2, 'a'), 'ask a: 2, now')
    script.tick(2_000)
    script.tick(2_010, 'ask a: 1, may wait')
    script.tick(2_100, 'ask a: 2, now')
    script.tick(4_000)
    script.tick(4_010, 'ask a: 1, may wait')
  })
})

describe('clients that go', () => {
  test('their requests are forgotten wherever they are', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(0, request(2), 'tell a: add 2, waited 0')
    script.at(0, request(3), 'tell a: add 3, waited 0')
    script.at(0, request(4, { client: 'another' }), 'tell a: add 4, waited 0')
    script.at(10, placed(1, 'a'), 'ask a: 1, now')
    script.at(10, placed(2, home, 'may wait'), 'ask here: 2, may wait')
    script.at(
      20,
      clientGone(driver),
      'cancel at a: 1',
      'tell a: remove 1, not granted',
      'cancel here: 2',
      'tell a: remove 2, not granted',
      'tell a: remove 3, not granted',
    )
    assert.deepEqual(script.places(), ['4: nowhere'])
    script.at(21, granted(1, 'a', 8), 'return to a: lease 8 of driver')
  })

  test('with a program go the requests of its tasks, which are told', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.at(0, request(1, { client: 'worker', job: driver }), 'tell a: add 1, waited 0')
    script.at(0, request(2, { client: 'worker', job: 'another' }), 'tell a: add 2, waited 0')
    script.at(
      20,
      clientGone(driver),
      'refuse 1: workerLimit, the program for which it was to run has ended',
      'tell a: remove 1, not granted',
    )
    assert.deepEqual(script.places(), ['2: nowhere'])
  })
})

describe('the bound', () => {
  test('more requests than a node keeps are refused, until some are answered', () => {
    const script = new RoutingScript()
    const countMax = 100_000
    for (let id = 1; id <= countMax; id++) script.router.step(request(id), 0)
    script.at(
      0,
      request(countMax + 1),
      'refuse 100001: workerLimit, 100000 requests wait for workers already; ask again when some have been answered',
    )
    script.at(1, cancelled(5), 'cancel here: 5')
    script.at(1, request(countMax + 2), 'ask here: 100002, may wait')
  })
})

describe('a node that takes no new work', () => {
  test('sends its clients to others, also those who would rather be here', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.isRoomy = true
    script.isClosed = true
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(0, request(2, { strategy: { kind: 'node', node: home, isSoft: false } }), 'tell a: add 2, waited 0')
    script.at(5, placed(1, 'a'), 'ask a: 1, now')
  })

  test('the head that does not know yet is told', () => {
    const script = new RoutingScript({ links: ['a'], head: 'a' })
    script.isClosed = true
    script.at(0, request(1), 'tell a: add 1, waited 0')
    script.at(5, placed(1, home), 'tell a: 1 was refused by home')
    script.at(6, placed(1, home))
    script.at(7, placed(1, 'a'), 'ask a: 1, now')
  })

  test('what it cannot send anywhere waits', () => {
    const alone = new RoutingScript()
    alone.isClosed = true
    alone.at(0, request(1), 'ask here: 1, may wait')
    const headless = new RoutingScript({ links: ['a'] })
    headless.isClosed = true
    headless.at(0, request(1))
    headless.tick(5_000)
    headless.at(5_001, headChanged('a'), 'tell a: add 1, waited 5001')
  })
})
