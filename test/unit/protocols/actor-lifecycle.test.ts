import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ActorLifecycle, type LifecycleEvent } from '../../../protocols/actor-lifecycle.ts'

const place = (leaseId: number): { leaseId: number; worker: string; workerPid: number } => ({
  leaseId,
  worker: `w${leaseId}`,
  workerPid: leaseId,
})

/** Steps a life, and says what is to be done, in short. */
class Life {
  readonly lifecycle: ActorLifecycle
  nowMs = 0

  constructor(restarts: number) {
    this.lifecycle = new ActorLifecycle(restarts)
  }

  step(event: LifecycleEvent): string[] {
    return this.lifecycle.step(event, this.nowMs++).map((action) => {
      if ('leaseId' in action) return `${action.type} ${action.leaseId}`
      if (action.type === 'start') return `start ${action.place.leaseId}`
      return action.type === 'wake' ? `wake ${action.afterMs}` : action.type
    })
  }

  /** To where its constructor has run. */
  live(leaseId = 1): void {
    this.step({ type: 'create' })
    this.step({ type: 'granted', place: place(leaseId) })
    this.step({ type: 'started', leaseId })
    assert.equal(this.lifecycle.state, 'alive')
  }
}

describe('the life of an actor', () => {
  test('a worker, the constructor, alive', () => {
    const life = new Life(0)
    assert.deepEqual(life.step({ type: 'create' }), ['requestLease', 'changed'])
    assert.equal(life.lifecycle.publicState, 'pending')
    assert.deepEqual(life.step({ type: 'granted', place: place(7) }), ['start 7'])
    assert.deepEqual(life.step({ type: 'started', leaseId: 7 }), ['changed'])
    assert.equal(life.lifecycle.publicState, 'alive')
    assert.deepEqual(life.step({ type: 'create' }), [])
  })

  test('an error of the constructor is its death, however often it may be started again', () => {
    const life = new Life(-1)
    life.step({ type: 'create' })
    life.step({ type: 'granted', place: place(1) })
    const error = new Error('no')
    assert.deepEqual(life.step({ type: 'startFailed', leaseId: 1, reason: 'no', error }), ['killLease 1', 'changed'])
    assert.equal(life.lifecycle.death?.error, error)
    assert.deepEqual(life.step({ type: 'lost', leaseId: 1, reason: 'killed' }), [])
  })

  test('a lost worker costs a restart, once, though it is told twice', () => {
    const life = new Life(2)
    life.live()
    assert.deepEqual(life.step({ type: 'lost', leaseId: 1, reason: 'gone' }), ['requestLease', 'changed'])
    assert.deepEqual(life.step({ type: 'lost', leaseId: 1, reason: 'gone' }), [])
    assert.deepEqual([life.lifecycle.restartsLeft, life.lifecycle.incarnation], [1, 1])
    assert.equal(life.lifecycle.publicState, 'restarting')
    life.step({ type: 'granted', place: place(2) })
    life.step({ type: 'started', leaseId: 2 })
    life.step({ type: 'lost', leaseId: 2, reason: 'gone' })
    life.step({ type: 'granted', place: place(3) })
    life.step({ type: 'started', leaseId: 3 })
    assert.deepEqual(life.step({ type: 'lost', leaseId: 3, reason: 'the last one' }), ['changed'])
    assert.equal(life.lifecycle.death?.reason, 'the last one')
  })

  test('killed for a restart: the end of that worker, which comes later, does not count', () => {
    const life = new Life(2)
    life.live()
    const killed = life.step({ type: 'kill', reason: 'to be started again', mayRestart: true })
    assert.deepEqual(killed, ['killLease 1', 'requestLease', 'changed'])
    assert.deepEqual(life.step({ type: 'lost', leaseId: 1, reason: 'killed' }), [])
    assert.equal(life.lifecycle.restartsLeft, 1)
  })

  test('one that dies before it lives is started again after ever longer pauses', () => {
    const life = new Life(-1)
    life.step({ type: 'create' })
    const pauses: string[] = []
    for (let leaseId = 1; leaseId <= 8; leaseId++) {
      life.step({ type: 'granted', place: place(leaseId) })
      pauses.push(
        ...life.step({ type: 'lost', leaseId, reason: 'exit code 1' }).filter((each) => each.startsWith('wake')),
      )
      life.step({ type: 'woken' })
    }
    assert.deepEqual(pauses, ['wake 200', 'wake 400', 'wake 800', 'wake 1600', 'wake 3200', 'wake 5000', 'wake 5000'])
  })

  test('released: it does what it was asked for, then its process ends', () => {
    const life = new Life(3)
    life.live()
    assert.deepEqual(life.step({ type: 'release', reason: 'no handle' }), ['end 1', 'wake 30000'])
    assert.equal(life.lifecycle.publicState, 'alive')
    assert.deepEqual(life.step({ type: 'ended', leaseId: 1, reason: 'no handle' }), ['killLease 1', 'changed'])
    assert.equal(life.lifecycle.publicState, 'dead')
  })

  test('released while it starts: it runs what it was asked for meanwhile', () => {
    const life = new Life(0)
    life.step({ type: 'create' })
    life.step({ type: 'granted', place: place(1) })
    assert.deepEqual(life.step({ type: 'release', reason: 'no handle' }), [])
    assert.deepEqual(life.step({ type: 'started', leaseId: 1 }), ['changed', 'end 1', 'wake 30000'])
  })

  test('released or killed before it has a worker: the request is taken back, and a worker that comes all the same', () => {
    for (const type of ['release', 'kill'] as const) {
      const life = new Life(0)
      life.step({ type: 'create' })
      assert.deepEqual(life.step({ type, reason: 'r', mayRestart: false }), ['cancelRequest', 'changed'])
      assert.deepEqual(life.step({ type: 'granted', place: place(4) }), ['returnLease 4'])
    }
  })

  test('one that does not end in time is killed, and not started again', () => {
    const life = new Life(5)
    life.live()
    life.step({ type: 'release', reason: 'no handle' })
    assert.deepEqual(life.step({ type: 'woken' }), ['killLease 1', 'changed'])
    assert.deepEqual(life.step({ type: 'lost', leaseId: 1, reason: 'killed' }), [])
  })

  test('no worker: a new one hears of it at once, one that has lived tries again for a while', () => {
    const refused = { type: 'refused', reason: 'none', error: new Error('none'), mayPass: true } as const
    const fresh = new Life(3)
    fresh.step({ type: 'create' })
    assert.deepEqual(fresh.step(refused), ['changed'])
    assert.equal(fresh.lifecycle.publicState, 'dead')
    const old = new Life(3)
    old.live()
    old.step({ type: 'lost', leaseId: 1, reason: 'gone' })
    for (const pause of [200, 400, 800, 1600, 3200, 5000, 5000]) {
      assert.deepEqual(old.step(refused), [`wake ${pause}`])
      assert.deepEqual(old.step({ type: 'woken' }), ['requestLease', 'changed'])
    }
    assert.deepEqual(old.step(refused), ['changed'])
    assert.equal(old.lifecycle.publicState, 'dead')
  })
})
