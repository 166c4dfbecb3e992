import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { MeshView, nodesMax } from '../../../node/view/mesh-view.ts'
import { seededRandom } from '../../support/seeded-random.ts'
import { makeAdvert, nodeId } from './make-advert.ts'

const self = nodeId(0)
const other = nodeId(1)

function viewOf(): MeshView {
  const view = new MeshView(self)
  view.apply(makeAdvert({ node: self }), 0, 'direct')
  return view
}

function stateOf(view: MeshView, node: string): string | undefined {
  return view.nodes().find(({ advert }) => advert.node === node)?.state
}

describe('the view of the mesh', () => {
  test('the newest advert counts, whatever the order', () => {
    const view = viewOf()
    assert.equal(view.apply(makeAdvert({ version: 5, queued: 5 }), 1, 'gossip'), true)
    assert.equal(view.apply(makeAdvert({ version: 4, queued: 4 }), 2, 'direct'), false)
    assert.equal(view.apply(makeAdvert({ version: 5, queued: 9 }), 3, 'gossip'), false)
    assert.equal(view.get(other)?.queued, 5)
    assert.equal(view.apply(makeAdvert({ version: 6, queued: 6 }), 4, 'direct'), true)
    assert.equal(view.get(other)?.queued, 6)
  })

  test('a node whose clock was set back is believed over its link, and its former life is not', () => {
    const view = viewOf()
    view.apply(makeAdvert({ startedAtMs: 9_000, version: 9_500 }), 0, 'gossip')
    view.linkUp(other, 1)
    assert.equal(view.apply(makeAdvert({ startedAtMs: 7_000, version: 7_001 }), 2, 'direct'), true)
    assert.equal(view.apply(makeAdvert({ startedAtMs: 9_000, version: 9_501 }), 3, 'gossip'), false)
    assert.equal(view.apply(makeAdvert({ startedAtMs: 7_000, version: 7_002 }), 4, 'gossip'), true)
    assert.equal(view.get(other)?.startedAtMs, 7_000)
  })

  test('a silent node without a link is suspected after 12 s and gone after 30 s', () => {
    const view = viewOf()
    view.apply(makeAdvert(), 0, 'gossip')
    assert.deepEqual(view.tick(11_999), [])
    assert.deepEqual(view.tick(12_000), [{ type: 'suspected', node: other }])
    assert.equal(stateOf(view, other), 'suspected')
    assert.deepEqual(view.tick(29_999), [])
    assert.deepEqual(view.tick(30_000), [{ type: 'gone', node: other }])
    assert.equal(view.get(other), undefined)
    assert.equal(stateOf(view, self), 'alive')
  })

  test('news ends a suspicion; old news does not', () => {
    const view = viewOf()
    view.apply(makeAdvert({ version: 2 }), 0, 'gossip')
    view.tick(12_000)
    view.apply(makeAdvert({ version: 1 }), 12_001, 'gossip')
    assert.equal(stateOf(view, other), 'suspected')
    view.apply(makeAdvert({ version: 3 }), 12_002, 'gossip')
    assert.equal(stateOf(view, other), 'alive')
    assert.deepEqual(view.tick(24_001), [])
  })

  test('a node with a link is never gone, and is waited for when the link has gone', () => {
    const view = viewOf()
    view.linkUp(other, 0)
    view.apply(makeAdvert(), 0, 'direct')
    assert.equal(view.nodes().find(({ advert }) => advert.node === other)?.isLinked, true)
    assert.deepEqual(view.tick(1e9), [])
    view.linkDown(other, 1e9)
    assert.deepEqual(view.tick(1e9 + 11_999), [])
    assert.deepEqual(view.tick(1e9 + 12_000), [{ type: 'suspected', node: other }])
    view.linkUp(other, 1e9 + 12_001)
    assert.equal(stateOf(view, other), 'alive')
  })

  test('it knows whether every node has a link', () => {
    const view = viewOf()
    assert.equal(view.isLinkedToAll, true)
    view.apply(makeAdvert(), 0, 'gossip')
    assert.equal(view.isLinkedToAll, false)
    view.linkUp(other, 1)
    assert.equal(view.isLinkedToAll, true)
    view.linkDown(other, 2)
    assert.equal(view.isLinkedToAll, false)
    view.remove(other)
    assert.equal(view.isLinkedToAll, true)
  })

  test('who leaves in good order is gone at once, and late gossip does not bring him back', () => {
    const view = viewOf()
    view.apply(makeAdvert({ version: 1_001 }), 0, 'gossip')
    view.remove(other)
    assert.equal(view.get(other), undefined)
    assert.equal(view.apply(makeAdvert({ version: 1_002 }), 1, 'gossip'), false)
    assert.equal(view.apply(makeAdvert({ startedAtMs: 2_000, version: 2_001 }), 2, 'gossip'), true)
    view.remove(other)
    view.linkUp(other, 3)
    assert.equal(view.apply(makeAdvert({ startedAtMs: 2_000, version: 2_002 }), 4, 'gossip'), true)
    view.remove(self)
    assert.equal(stateOf(view, self), 'alive')
  })

  test('what was handed out never changes', () => {
    const view = viewOf()
    view.apply(makeAdvert(), 0, 'gossip')
    const before = view.nodes()
    const copy = structuredClone(before)
    view.linkUp(other, 1)
    view.apply(makeAdvert({ version: 7 }), 2, 'direct')
    view.linkDown(other, 3)
    view.tick(1e6)
    assert.deepEqual(before, copy)
  })

  test('it is bounded, and a linked node has precedence over one that is only heard of', () => {
    const view = viewOf()
    for (let n = 1; n < nodesMax; n++) assert.equal(view.apply(makeAdvert({ node: nodeId(n) }), n, 'gossip'), true)
    assert.equal(view.apply(makeAdvert({ node: nodeId(5_000) }), 9_000, 'gossip'), false)
    view.linkUp(nodeId(5_000), 9_001)
    assert.equal(view.apply(makeAdvert({ node: nodeId(5_000) }), 9_002, 'direct'), true)
    assert.equal(view.size, nodesMax)
    assert.equal(view.get(nodeId(1)), undefined, 'the one that was silent for longest made room')
    assert.notEqual(view.get(self), undefined)
  })

  test('more nodes are waited for longer, since each speaks less', () => {
    const view = viewOf()
    for (let n = 1; n < 60; n++) view.apply(makeAdvert({ node: nodeId(n) }), 0, 'gossip')
    assert.deepEqual(view.tick(23_999), [])
    assert.equal(view.tick(24_000).length, 59)
  })

  test('any order of events: linked nodes stay, the newest version stands, silent ones go', () => {
    const seed = Date.now() >>> 0
    const random = seededRandom(seed)
    const view = viewOf()
    const linked = new Set<string>()
    const versions = new Map<string, number>()
    const heardAtMs = new Map<string, number>()
    let nowMs = 0
    for (let step = 0; step < 20_000; step++) {
      nowMs += random() * 1_000
      const node = nodeId(1 + Math.floor(random() * 8))
      const choice = random()
      if (choice < 0.5) {
        const version = Math.floor(random() * (step + 2))
        const isNew = view.apply(makeAdvert({ node, version }), nowMs, random() < 0.5 ? 'gossip' : 'direct')
        assert.equal(isNew, version > (versions.get(node) ?? -1), `seed ${seed}, step ${step}`)
        if (isNew) {
          versions.set(node, version)
          heardAtMs.set(node, nowMs)
        }
      } else if (choice < 0.7) {
        const isUp = random() < 0.3
        if (isUp) view.linkUp(node, nowMs)
        else view.linkDown(node, nowMs)
        if (isUp) linked.add(node)
        else linked.delete(node)
        if (versions.has(node)) heardAtMs.set(node, nowMs)
      } else {
        for (const change of view.tick(nowMs)) {
          assert.ok(!linked.has(change.node), `seed ${seed}, step ${step}: a linked node was dropped`)
          assert.ok(nowMs - (heardAtMs.get(change.node) ?? nowMs) >= 12_000, `seed ${seed}, step ${step}: too early`)
          if (change.type === 'gone') versions.delete(change.node)
        }
        for (const { advert } of view.nodes()) {
          const isSilent = nowMs - (heardAtMs.get(advert.node) ?? nowMs) >= 30_000
          assert.ok(!isSilent || linked.has(advert.node), `seed ${seed}, step ${step}: a silent node stayed`)
        }
      }
      for (const [each, version] of versions) {
        assert.equal(view.get(each)?.version, version, `seed ${seed}, step ${step}`)
      }
    }
  })
})
