import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { GroupBook } from '../../../node/groups/group-book.ts'
import type { GroupAction, GroupEvent } from '../../../node/groups/group-events.ts'

const [a, b, c] = ['a', 'b', 'c'].map((letter) => letter.repeat(16)) as [string, string, string]
const client = `${a}0000000000000001`
const group = `${client}000000000001`

type ActionOf<T extends GroupAction['type']> = Extract<GroupAction, { type: T }>

class Harness {
  readonly book: GroupBook
  nowMs = 1000

  constructor({ isAlone = false } = {}) {
    this.book = new GroupBook({ self: a, expectsOthers: () => !isAlone })
    this.step({ type: 'headChanged', head: a })
    if (!isAlone) for (const node of [b, c]) this.step({ type: 'linkUp', node })
  }

  step(event: GroupEvent, afterMs = 0): GroupAction[] {
    this.nowMs += afterMs
    return this.book.step(event, this.nowMs)
  }

  create(count = 2): GroupAction[] {
    const bundles = Array.from({ length: count }, () => ({ resources: { CPU: 1 }, labels: {} }))
    return this.step({ type: 'created', group, job: client, name: '', strategy: 'SPREAD', bundles })
  }

  placed(tryNumber: number, ...nodes: string[]): GroupAction[] {
    return this.step({ type: 'placed', group, tryNumber, nodes })
  }

  reserved(node: string, tryNumber: number, ...indices: number[]): GroupAction[] {
    return this.step({ type: 'reserved', node, group, bundles: indices.map((index) => ({ index, tryNumber })) })
  }

  /** A group of two bundles, on b and on c. */
  ready(): void {
    this.create()
    this.placed(1, b, c)
    this.reserved(b, 1, 0)
    this.reserved(c, 1, 1)
    assert.equal(this.state.state, 'ready')
  }

  get state() {
    const [report] = this.book.reports(this.nowMs)
    assert.ok(report)
    return report
  }
}

function of<T extends GroupAction['type']>(actions: readonly GroupAction[], type: T): ActionOf<T>[] {
  return actions.filter((action): action is ActionOf<T> => action.type === type)
}

describe('the home of groups', () => {
  test('asks the head, has the nodes reserve, and claims when all have', () => {
    const home = new Harness()
    const [plan] = of(home.create(), 'plan')
    assert.deepEqual([plan?.head, plan?.tryNumber, plan?.bundles.length], [a, 1, 2])
    assert.deepEqual(
      of(home.placed(1, b, c), 'reserve').map(({ node, bundles }) => [node, bundles.map(({ index }) => index)]),
      [
        [b, [0]],
        [c, [1]],
      ],
    )
    assert.deepEqual(home.placed(1, b, c), [], 'said twice')
    assert.deepEqual(home.reserved(b, 1, 0), [])
    const done = home.reserved(c, 1, 1)
    assert.deepEqual(
      of(done, 'claim').map(({ node }) => node),
      [b, c],
    )
    assert.deepEqual(
      of(done, 'planEnd').map(({ isServed }) => isServed),
      [true],
    )
    assert.deepEqual(
      of(done, 'tell').map(({ told }) => [told.state, told.nodes]),
      [['ready', [b, c]]],
    )
    assert.deepEqual(home.reserved(c, 1, 1), [], 'said twice')
  })

  test('takes all back when a node refuses, and tries again without it', () => {
    const home = new Harness()
    home.create()
    home.placed(1, b, c)
    home.reserved(b, 1, 0)
    const again = home.step({ type: 'refused', node: c, group, bundles: [{ index: 1, tryNumber: 1 }], reason: 'full' })
    assert.deepEqual(
      of(again, 'release').map(({ node, isRemoved }) => [node, isRemoved]),
      [
        [b, false],
        [c, false],
      ],
    )
    assert.deepEqual(
      of(again, 'plan').map(({ tryNumber, refusedBy }) => [tryNumber, refusedBy]),
      [[2, [c]]],
    )
    // What the first try has reserved late is of no use.
    assert.deepEqual(of(home.reserved(b, 1, 0), 'release').length, 1)
    assert.match(home.state.reason, /had no room for it: full/)
  })

  test('gives up on nodes that do not answer', () => {
    const home = new Harness()
    home.create()
    home.placed(1, b, c)
    home.reserved(b, 1, 0)
    const later = home.step({ type: 'tick' }, 4000)
    assert.deepEqual(
      of(later, 'plan').map(({ refusedBy }) => refusedBy),
      [[c]],
    )
    assert.equal(of(later, 'release').length, 2)
  })

  test('asks the head again when it says nothing, and a new head at once', () => {
    const home = new Harness()
    home.create()
    assert.equal(of(home.step({ type: 'tick' }, 500), 'plan').length, 0)
    assert.equal(of(home.step({ type: 'tick' }, 600), 'plan').length, 1)
    home.step({ type: 'headChanged', head: undefined })
    assert.match(home.state.reason, /there is no head/)
    assert.deepEqual(
      of(home.step({ type: 'headChanged', head: b }), 'plan').map(({ head }) => head),
      [b],
    )
  })

  test('goes on with a try when the head changes: the nodes answer to the home', () => {
    const home = new Harness()
    home.create()
    home.placed(1, b, c)
    assert.deepEqual(of(home.step({ type: 'headChanged', head: b }), 'plan'), [])
    home.reserved(b, 1, 0)
    home.reserved(c, 1, 1)
    assert.equal(home.state.state, 'ready')
  })

  test('places the bundles of a lost node anew, and only those', () => {
    const home = new Harness()
    home.ready()
    const actions = home.step({ type: 'linkDown', node: c })
    const [plan] = of(actions, 'plan')
    assert.deepEqual([plan?.tryNumber, plan?.bundles.map(({ index }) => index), plan?.placed], [2, [1], [b]])
    assert.deepEqual(of(actions, 'tell').at(-1)?.told.nodes, [b, ''])
    home.placed(2, a)
    home.reserved(a, 2, 1)
    assert.deepEqual(
      home.state.bundles.map(({ node }) => node),
      [b, a],
    )
  })

  test('places anew what a node has not, unless that is old news', () => {
    const home = new Harness()
    home.ready()
    const lost = (tryNumber: number): GroupAction[] =>
      home.step({ type: 'lost', node: c, group, bundles: [{ index: 1, tryNumber }], reason: 'gone' })
    assert.deepEqual(lost(0), [])
    assert.equal(of(lost(1), 'plan').length, 1)
    assert.deepEqual(lost(1), [])
  })

  test('says again now and then what it holds', () => {
    const home = new Harness()
    home.ready()
    home.step({ type: 'tick' })
    assert.deepEqual(home.step({ type: 'tick' }, 1000), [])
    assert.deepEqual(
      of(home.step({ type: 'tick' }, 5000), 'claim').map(({ node, groups }) => [node, groups]),
      [
        [b, [{ group, bundles: [{ index: 0, tryNumber: 1 }] }]],
        [c, [{ group, bundles: [{ index: 1, tryNumber: 1 }] }]],
      ],
    )
  })

  test('releases all when the group is removed, or its program has ended', () => {
    for (const event of [
      { type: 'removed', group, by: 'its owner' },
      { type: 'clientGone', client },
    ] as const) {
      const home = new Harness()
      home.ready()
      const actions = home.step(event)
      assert.deepEqual(
        of(actions, 'release').map(({ node, isRemoved }) => [node, isRemoved]),
        [
          [b, true],
          [c, true],
        ],
      )
      assert.equal(of(actions, 'tell')[0]?.told.state, 'removed')
      assert.deepEqual(
        of(actions, 'planEnd').map(({ isServed }) => isServed),
        [false],
      )
      assert.deepEqual([...home.book.reports(0)], [])
      assert.deepEqual(home.step(event), [])
    }
  })

  test('releases what is being reserved when the group is removed', () => {
    const home = new Harness()
    home.create()
    home.placed(1, b, c)
    assert.equal(of(home.step({ type: 'removed', group, by: 'its owner' }), 'release').length, 2)
    const [late] = of(home.reserved(b, 1, 0), 'release')
    assert.equal(late?.isRemoved, true)
  })

  test('calls a group infeasible after a while, or at once when there is nobody else', () => {
    const never = { type: 'unplaced', group, tryNumber: 1, isInfeasible: true, reason: 'too large' } as const
    const home = new Harness()
    home.create()
    home.step(never)
    assert.equal(home.state.state, 'pending')
    home.step({ type: 'tick' }, 2500)
    assert.equal(home.state.state, 'infeasible')
    const alone = new Harness({ isAlone: true })
    alone.create()
    alone.step(never)
    assert.equal(alone.state.state, 'infeasible')
    alone.placed(1, a, a)
    alone.reserved(a, 1, 0, 1)
    assert.equal(alone.state.state, 'ready')
  })

  test('a group that had its place and lost it waits, however little there is left', () => {
    const home = new Harness()
    home.ready()
    home.step({ type: 'linkDown', node: c })
    home.step({ type: 'unplaced', group, tryNumber: 2, isInfeasible: true, reason: 'too large' })
    home.step({ type: 'tick' }, 5000)
    assert.equal(home.state.state, 'pending')
  })

  test('tells those who watch, and that there is no such group', () => {
    const home = new Harness()
    home.create()
    assert.deepEqual(
      of(home.step({ type: 'asked', node: b, group, want: 'watch' }), 'tell').map(({ node }) => node),
      [b],
    )
    const actions = home.step({ type: 'removed', group, by: 'its owner' })
    assert.deepEqual(
      of(actions, 'tell').map(({ node }) => node),
      [a, b],
    )
    const [told] = of(home.step({ type: 'asked', node: b, group, want: 'watch' }), 'tell')
    assert.equal(told?.told.state, 'removed')
  })

  test('does not ask nodes that it cannot reach', () => {
    const home = new Harness()
    home.create()
    const far = 'd'.repeat(16)
    assert.deepEqual(of(home.placed(1, b, far), 'reserve'), [])
    assert.deepEqual(
      of(home.step({ type: 'tick' }, 1500), 'plan').map(({ refusedBy }) => refusedBy),
      [[far]],
    )
  })
})
