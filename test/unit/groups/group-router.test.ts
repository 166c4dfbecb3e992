import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { GroupTold } from '../../../node/groups/group-events.ts'
import { GroupRouter, type GroupRouterAction, type GroupRouterEvent } from '../../../node/groups/group-router.ts'
import type { Refusal } from '../../../node/routing/router-events.ts'

const [self, b, c] = ['a', 'b', 'c'].map((letter) => letter.repeat(16)) as [string, string, string]
const client = `${self}0000000000000001`
/** Made by a program of node b. */
const group = `${b}0000000000000001000000000001`
const busy: Refusal = { error: 'busy', message: 'not now', details: {} }

class Harness {
  readonly router = new GroupRouter({ self, isPlacedHere: () => this.isPlacedHere })
  isPlacedHere = false
  nowMs = 1000
  #lastRequest = 0

  constructor(...links: string[]) {
    for (const node of links) this.step({ type: 'linkUp', node })
  }

  step(event: GroupRouterEvent, afterMs = 0): GroupRouterAction[] {
    this.nowMs += afterMs
    return this.router.step(event, this.nowMs)
  }

  request(bundle: number | 'any', of = group): { requestId: number; actions: GroupRouterAction[] } {
    const requestId = ++this.#lastRequest
    const strategy = { kind: 'group', group: of, bundle } as const
    const request = { client, requestId, strategy, resources: { CPU: 1 }, envKey: '', envVars: {} }
    const actions = this.step({
      type: 'requested',
      request: { ...request, depth: 0, job: client, label: 'f', isActor: false },
    })
    return { requestId, actions }
  }

  told(nodes: string[], state: GroupTold['state'] = 'ready', reason = ''): GroupRouterAction[] {
    return this.step({ type: 'told', told: { group, state, reason, nodes } })
  }

  refused(requestId: number, node: string, refusal = busy): GroupRouterAction[] {
    return node === self
      ? this.step({ type: 'localRefused', client, requestId, refusal })
      : this.step({ type: 'remoteRefused', node, client, requestId, refusal })
  }
}

/** The actions in short: their types and where to. */
function short(actions: readonly GroupRouterAction[]): string[] {
  return actions.map((action) => {
    const where = 'node' in action ? action.node : 'home' in action ? action.home : ''
    const how = 'mayWait' in action ? (action.mayWait ? 'wait' : 'now') : ''
    const what = action.type === 'refuse' ? action.refusal.error : action.type === 'askHome' ? action.want : ''
    return [action.type, `${where.slice(0, 1)}${what}`, how].filter((part) => part !== '').join(' ')
  })
}

describe('the router of requests for bundles', () => {
  test('asks the home of the group, and then the node that has the bundle', () => {
    const harness = new Harness(b, c)
    const { requestId, actions } = harness.request(1)
    assert.deepEqual(short(actions), ['askHome bwatch'])
    assert.deepEqual(short(harness.told([b, c])), ['askRemote c wait'])
    const grant = { leaseId: 1, workerId: `${c}0000000000000001`, workerPid: 1, gpuIds: [], nodesAble: 1 }
    assert.deepEqual(short(harness.step({ type: 'remoteGranted', node: c, client, requestId, grant })), ['accept c'])
    assert.equal(harness.router.has({ client, requestId }), false)
    assert.deepEqual(short(harness.request(0).actions), ['askRemote b wait'], 'it is known by now')
  })

  test('waits while the bundle is nowhere, and moves with it', () => {
    const harness = new Harness(b, c)
    harness.request(0)
    assert.deepEqual(short(harness.told(['', c], 'pending', 'no room')), [])
    assert.match([...harness.router.waiting()][0]?.reason ?? '', /the placement group waits: no room/)
    assert.deepEqual(short(harness.told([self, c])), ['askLocal wait'])
    assert.deepEqual(short(harness.told([b, c])), ['cancelLocal', 'askRemote b wait'])
    assert.deepEqual(short(harness.told([b, c])), [])
  })

  test('for any bundle tries the own node, then others, and waits at one when none has room', () => {
    const harness = new Harness(b, c)
    const { requestId } = harness.request('any')
    assert.deepEqual(short(harness.told([b, self, b])), ['askLocal now'])
    assert.deepEqual(short(harness.refused(requestId, self)), ['askRemote b now'])
    assert.match(short(harness.refused(requestId, b)).join(), /^ask(Local|Remote b) wait$/)
    assert.match(short(harness.step({ type: 'tick' }, 600)).join(), /^cancel(Local|Remote b),askLocal now$/)
  })

  test('leaves a request alone whose worker is being started', () => {
    const harness = new Harness(b)
    const { requestId } = harness.request('any')
    harness.told([self, b])
    harness.refused(requestId, self)
    const [asked] = short(harness.refused(requestId, b))
    // It waits at either; here it is to be the own node.
    if (asked !== 'askLocal wait') {
      harness.refused(requestId, b)
      harness.step({ type: 'tick' }, 600)
      harness.refused(requestId, self)
      assert.deepEqual(short(harness.refused(requestId, b)), ['askLocal wait'])
    }
    harness.isPlacedHere = true
    assert.deepEqual(short(harness.step({ type: 'tick' }, 600)), [])
    harness.isPlacedHere = false
    assert.deepEqual(short(harness.step({ type: 'tick' }, 600)), ['cancelLocal', 'askLocal now'])
  })

  test('for any bundle, when there is one node, waits there', () => {
    const harness = new Harness(b, c)
    harness.request('any')
    assert.deepEqual(short(harness.told([c, c])), ['askRemote c wait'])
    assert.deepEqual(short(harness.step({ type: 'tick' }, 1000)), [])
    assert.deepEqual(short(harness.step({ type: 'tick' }, 1500)), ['askRemote c wait'], 'the answer may be lost')
  })

  test('refuses what is too large for every bundle', () => {
    const harness = new Harness(b, c)
    const { requestId } = harness.request('any')
    harness.told([b, c])
    const never: Refusal = { error: 'infeasible', message: 'too large', details: {} }
    const first = [...harness.router.waiting()][0]?.at ?? ''
    assert.equal(harness.refused(requestId, first, never).length, 1)
    const second = [...harness.router.waiting()][0]?.at ?? ''
    assert.notEqual(second, first)
    assert.deepEqual(short(harness.refused(requestId, second, never)), ['refuse infeasible'])
  })

  test('asks again for a bundle that was not there, and its home, too', () => {
    const harness = new Harness(b, c)
    const { requestId } = harness.request(0)
    harness.told([c])
    harness.nowMs += 1000
    assert.deepEqual(short(harness.refused(requestId, c)), ['askHome bwatch'])
    assert.deepEqual(short(harness.step({ type: 'tick' }, 50)), [])
    assert.deepEqual(short(harness.step({ type: 'tick' }, 100)), ['askRemote c wait'])
  })

  test('refuses requests for bundles that there are not, and for groups that fit nowhere', () => {
    const harness = new Harness(b, c)
    harness.request(2)
    assert.deepEqual(short(harness.told([b, c])), ['refuse infeasible'])
    harness.request(0)
    const actions = harness.told(['', ''], 'infeasible', 'too large')
    assert.deepEqual(short(actions), ['cancelRemote b', 'refuse infeasible'])
  })

  test('refuses all when the group is removed', () => {
    const harness = new Harness(b, c)
    harness.request(0)
    harness.request('any')
    harness.told(['', ''], 'pending')
    assert.deepEqual(short(harness.told([], 'removed', 'it was removed')), [
      'refuse groupRemoved',
      'refuse groupRemoved',
    ])
    assert.deepEqual(short(harness.request(0).actions), ['askHome bwatch'], 'somebody may know better')
  })

  test('gives a group up when the node that made it is gone, or never was in reach', () => {
    const harness = new Harness(b, c)
    harness.request(0)
    harness.told([c])
    assert.deepEqual(short(harness.step({ type: 'linkDown', node: b })), ['refuse groupRemoved', 'cancelRemote c'])
    harness.request(0)
    assert.deepEqual(short(harness.step({ type: 'tick' }, 1000)), [])
    assert.deepEqual(short(harness.step({ type: 'tick' }, 1500)), ['refuse groupRemoved'])
  })

  test('waits when only the node of the bundle is gone', () => {
    const harness = new Harness(b, c)
    harness.request(0)
    harness.told([c])
    assert.deepEqual(short(harness.step({ type: 'linkDown', node: c })), [])
    assert.deepEqual(short(harness.told([''], 'pending')), [])
    assert.deepEqual(short(harness.step({ type: 'tick' }, 200)), [])
    assert.deepEqual(short(harness.told([b])), ['askRemote b wait'])
  })

  test('returns a lease that comes from where it has left', () => {
    const harness = new Harness(b, c)
    const { requestId } = harness.request(0)
    harness.told([c])
    harness.told([b])
    const grant = { leaseId: 1, workerId: `${c}0000000000000001`, workerPid: 1, gpuIds: [], nodesAble: 1 }
    assert.deepEqual(short(harness.step({ type: 'remoteGranted', node: c, client, requestId, grant })), [
      'returnRemote c',
    ])
  })

  test('tells clients how a group stands, and forgets it when nobody wants to know', () => {
    const harness = new Harness(b, c)
    assert.deepEqual(short(harness.step({ type: 'watched', client, group, isMaker: false })), ['askHome bwatch'])
    assert.deepEqual(short(harness.told([b])), ['tellClient'])
    assert.deepEqual(short(harness.step({ type: 'watched', client, group, isMaker: false })), ['tellClient'])
    harness.step({ type: 'unwatched', client, group })
    assert.equal(harness.router.wantsTick, true)
    assert.deepEqual(short(harness.step({ type: 'tick' }, 6000)), ['askHome bunwatch'])
    assert.equal(harness.router.wantsTick, false)
  })

  test('ends with its client', () => {
    const harness = new Harness(b, c)
    harness.request(0)
    harness.told([c])
    assert.deepEqual(short(harness.step({ type: 'clientGone', client })), ['cancelRemote c'])
    assert.equal([...harness.router.waiting()].length, 0)
  })
})
