import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LeaseBook } from '../../../node/leases/lease-book.ts'
import { BookHarness, all, only } from './book-harness.ts'

describe('requests and grants', () => {
  test('the first step starts the plain workers', () => {
    const book = new LeaseBook({ total: { CPU: 2 } })
    assert.deepEqual(
      book.step({ type: 'tick' }, 0),
      [1, 2].map((workerId) => ({ type: 'startWorker', workerId, envKey: '', envVars: {}, gpuIds: [] })),
    )
  })

  test('a lease goes to an idle worker and comes back', () => {
    const harness = new BookHarness({ total: { CPU: 1 } })
    const grant = harness.lease()
    assert.deepEqual(harness.book.snapshot().available, { CPU: 0 })
    const { actions, requestId } = harness.request({ client: 'other' })
    assert.deepEqual(actions, [])
    const next = only(harness.returned(grant), 'grant')
    assert.deepEqual([next.client, next.requestId, next.workerId], ['other', requestId, grant.workerId])
    assert.ok(next.leaseId > grant.leaseId)
  })

  test('a request waits for a worker that is starting and holds its CPU', () => {
    const harness = new BookHarness({ total: { CPU: 1 } }, { startsAtOnce: false })
    assert.deepEqual(harness.request().actions, [])
    assert.deepEqual(harness.book.snapshot().available, { CPU: 0 })
    assert.equal(harness.book.snapshot().pending[0]?.reason, 'a worker is being started')
    assert.equal(only(harness.step({ type: 'workerReady', workerId: 1 }), 'grant').workerId, 1)
  })

  test('a worker that comes back serves a request whose own worker is still starting', () => {
    const harness = new BookHarness({ total: { CPU: 2 }, prestart: 1 }, { startsAtOnce: false })
    harness.step({ type: 'workerReady', workerId: 1 })
    const first = harness.lease()
    assert.equal(only(harness.request().actions, 'startWorker').workerId, 2)
    assert.equal(only(harness.returned(first), 'grant').workerId, 1)
    assert.deepEqual(harness.step({ type: 'workerReady', workerId: 2 }), [])
  })

  test('a request for no CPU gets a worker too', () => {
    const harness = new BookHarness({ total: { CPU: 1 } })
    harness.lease()
    harness.lease({ resources: {} })
    harness.lease({ resources: { CPU: 0 } })
    assert.deepEqual(harness.book.snapshot().available, { CPU: 0 })
  })

  test('what could never fit is refused at once, with the way out', () => {
    const harness = new BookHarness({ total: { CPU: 2, memory: 16.3 * 2 ** 30 } })
    const refusal = only(harness.request({ resources: { CPU: 8 } }).actions, 'refuse')
    assert.equal(refusal.error, 'infeasible')
    assert.equal(
      refusal.message,
      'asked for CPU 8; this node has CPU 2, memory 16.3 GiB: lower the request, or start the node with `--cpus 8`',
    )
    const custom = only(harness.request({ resources: { camera: 2, GPU: 0.5 } }).actions, 'refuse')
    assert.match(custom.message, /`--resources '\{"camera":2\}' --gpus 1`/)
  })

  test('a cancelled request is forgotten, waiting or placed', () => {
    const harness = new BookHarness({ total: { CPU: 1 } }, { startsAtOnce: false })
    const placed = harness.request().requestId
    const waiting = harness.request().requestId
    harness.step({ type: 'requestCancelled', client: 'driver', requestId: waiting })
    harness.step({ type: 'requestCancelled', client: 'driver', requestId: placed })
    assert.deepEqual(harness.book.snapshot().available, { CPU: 1 })
    assert.deepEqual(harness.step({ type: 'workerReady', workerId: 1 }), [])
  })

  test('late and repeated news changes nothing', () => {
    const harness = new BookHarness({ total: { CPU: 2 } })
    const { leaseId, workerId, client } = harness.lease()
    harness.returned({ client: 'someone else', leaseId })
    assert.deepEqual(harness.book.snapshot().available, { CPU: 1 })
    harness.returned({ client, leaseId })
    const before = harness.book.snapshot()
    const repeated = [
      harness.returned({ client, leaseId }),
      harness.step({ type: 'blocked', leaseId }),
      harness.step({ type: 'unblocked', leaseId }),
      harness.step({ type: 'workerReady', workerId }),
      harness.step({ type: 'workerReady', workerId: 99 }),
      harness.step({ type: 'workerExited', workerId: 99, reason: '', startFailed: false }),
      harness.step({ type: 'requestCancelled', client, requestId: 99 }),
      harness.step({ type: 'clientGone', client: 'nobody' }),
    ]
    assert.deepEqual(repeated.flat(), [])
    assert.deepEqual(harness.book.snapshot(), before)
  })

  test('a second request of the same number is ignored while the first has no answer', () => {
    const harness = new BookHarness({ total: { CPU: 1 } })
    const grant = harness.lease()
    const { requestId } = harness.request()
    assert.deepEqual(harness.request({ requestId }).actions, [])
    only(harness.returned(grant), 'grant')
    assert.equal(harness.book.snapshot().pending.length, 0)
  })
})

describe('order', () => {
  test('the deepest first, then first come first served', () => {
    const harness = new BookHarness({ total: { CPU: 1 } })
    let grant = harness.lease({ label: 'first' })
    const shallow = harness.request({ depth: 0 }).requestId
    const deep = harness.request({ depth: 2, client: 'a' }).requestId
    const shallowOther = harness.request({ depth: 0, resources: { CPU: 0.9 } }).requestId
    const deepLater = harness.request({ depth: 2, client: 'b', resources: { CPU: 0.9 } }).requestId
    const order: number[] = []
    for (let count = 0; count < 4; count++) {
      grant = only(harness.returned(grant), 'grant')
      order.push(grant.requestId)
    }
    assert.deepEqual(order, [deep, deepLater, shallow, shallowOther])
  })

  test('a small request passes one that does not fit, until that one has waited too long', () => {
    const harness = new BookHarness({ total: { CPU: 2 }, starvationMs: 1_000, quantumMs: 1e9 })
    const first = harness.lease()
    const large = harness.request({ resources: { CPU: 2 }, label: 'large' }).requestId
    const second = harness.lease()
    assert.deepEqual(all(harness.tick(999), 'grant'), [])
    harness.returned(second)
    const third = harness.lease()
    harness.tick(1)
    assert.deepEqual(harness.returned(third), [])
    assert.deepEqual(harness.request({ label: 'small' }).actions, [], 'the free CPU is kept')
    const pending = harness.book.snapshot().pending
    assert.match(pending.find(({ label }) => label === 'small')?.reason ?? '', /behind 'large', .* CPU 2/)
    assert.equal(harness.lease({ depth: 1, client: 'nested' }).type, 'grant', 'deeper ones go before it all the same')
    const nested = all(harness.actions, 'grant').at(-1)
    assert.ok(nested)
    harness.returned(nested)
    assert.equal(only(harness.returned(first), 'grant').requestId, large)
  })

  test('what is kept for one is let go after a while, so that it cannot hold up what it waits for', () => {
    const harness = new BookHarness({ total: { x: 2 }, starvationMs: 1_000, quantumMs: 1e9 })
    const holder = harness.lease({ resources: { x: 1 } })
    harness.request({ resources: { x: 2 } })
    harness.tick(1_000)
    const awaited = harness.request({ resources: { x: 1 }, client: 'other' })
    harness.step({ type: 'blocked', leaseId: holder.leaseId })
    assert.deepEqual(awaited.actions, [])
    assert.deepEqual(all(harness.tick(3_999), 'grant'), [])
    assert.equal(only(harness.tick(1), 'grant').requestId, awaited.requestId)
  })

  test('what waits for a GPU keeps no CPU until it has one', () => {
    const harness = new BookHarness({ total: { CPU: 2 }, gpuIds: [0], starvationMs: 1_000, quantumMs: 1e9 })
    const holder = harness.lease({ resources: { GPU: 1 } })
    const first = harness.lease()
    const second = harness.lease()
    const large = harness.request({ resources: { CPU: 2, GPU: 1 }, label: 'large' }).requestId
    harness.tick(1_000)
    harness.returned(first)
    const third = harness.lease()
    assert.deepEqual(harness.request({ resources: { GPU: 1 }, label: 'later' }).actions, [])
    harness.returned(holder)
    harness.tick(1)
    harness.returned(second)
    assert.deepEqual(harness.request({ label: 'small' }).actions, [], 'now that it has all but the CPUs, they are kept')
    assert.equal(only(harness.returned(third), 'grant').requestId, large)
  })

  test('nothing is kept for what actors and placement groups leave no room for', () => {
    const harness = new BookHarness({ total: { CPU: 5 }, gpuIds: [0], starvationMs: 1_000, quantumMs: 1e9 })
    const actor = harness.lease({ resources: { CPU: 1 }, isActor: true })
    harness.lease({ resources: { GPU: 0.5 }, isActor: true })
    const bundles = [{ index: 0, tryNumber: 1, resources: { CPU: 1 } }]
    harness.step({ type: 'bundlesReserve', group: 'g', tryNumber: 1, bundles })
    harness.step({ type: 'bundlesClaim', group: 'g', bundles })
    const task = harness.lease()
    const large = harness.request({ resources: { CPU: 4 } }).requestId
    harness.request({ resources: { GPU: 1 } })
    harness.tick(1_000)
    harness.returned(harness.lease())
    harness.returned(harness.lease({ resources: { GPU: 0.5 } }))
    harness.returned(actor)
    harness.tick(1)
    assert.deepEqual(harness.request().actions, [], 'without the actor there is room, in time')
    assert.equal(only(harness.returned(task), 'grant').requestId, large)
  })

  test('nothing is kept for as long as it was kept before', () => {
    const harness = new BookHarness({ total: { x: 2 }, starvationMs: 1_000, quantumMs: 1e9 })
    harness.lease({ resources: { x: 1 } })
    harness.request({ resources: { x: 2 } })
    harness.tick(1_000)
    assert.deepEqual(harness.request({ resources: { x: 1 } }).actions, [])
    const small = only(harness.tick(4_000), 'grant')
    harness.tick(3_999)
    harness.returned(small)
    const other = harness.lease({ resources: { x: 1 } })
    harness.tick(1)
    harness.returned(other)
    assert.deepEqual(harness.request({ resources: { x: 1 } }).actions, [])
  })
})

describe('environments and devices', () => {
  test('a worker serves only its own environment', () => {
    const harness = new BookHarness({ total: { CPU: 2 } })
    const { actions } = harness.request({ envKey: 'torch', envVars: { A: '1' } })
    const start = only(actions, 'startWorker')
    assert.deepEqual([start.envKey, start.envVars, start.gpuIds], ['torch', { A: '1' }, []])
    const grant = only(actions, 'grant')
    harness.returned(grant)
    assert.equal(harness.lease({ envKey: 'torch' }).workerId, grant.workerId)
  })

  test('an idle worker leaves the device that goes to one of another kind', () => {
    const harness = new BookHarness({ total: { CPU: 4 }, gpuIds: [0, 1] })
    const first = harness.lease({ resources: { GPU: 1 } })
    harness.returned(first)
    const { actions } = harness.request({ resources: { GPU: 2 } })
    assert.equal(only(actions, 'stopWorker').workerId, first.workerId)
    assert.deepEqual(only(actions, 'grant').gpuIds, [0, 1])
  })

  test('a type or a size of GPU that there is not is refused, with what there is', () => {
    const gpus = [{ id: 0, type: 'H100', memoryBytes: 80 * 2 ** 30 }, { id: 1 }]
    const harness = new BookHarness({ total: { CPU: 4 }, gpus })
    const typed = only(harness.request({ resources: { GPU: 1, 'accelerator:A100': 1 } }).actions, 'refuse')
    assert.equal(typed.error, 'infeasible')
    assert.equal(
      typed.message,
      'asked for GPU 1, GPU type A100; this node has CPU 4, GPU 2 (H100, unknown type): lower the request, or start the node with `--gpu-type A100`',
    )
    const large = only(harness.request({ resources: { gpuMemory: 90 * 2 ** 30 } }).actions, 'refuse')
    assert.match(large.message, /asked for GPU memory 90 GiB; .*the largest of its GPUs has 80 GiB/)
  })

  test('status says what a fraction waits for', () => {
    const harness = new BookHarness({ total: { CPU: 4 }, gpuIds: [0, 1] })
    for (let count = 0; count < 2; count++) harness.lease({ resources: { GPU: 0.7 } })
    harness.request({ resources: { GPU: 0.5 } })
    const [pending] = harness.book.snapshot().pending
    assert.equal(pending?.reason, 'waiting for GPU 0.5: 1.4 of 2 in use, but not together on one device')
  })

  test('a GPU worker is used again for the same devices only', () => {
    const harness = new BookHarness({ total: { CPU: 4 }, gpuIds: [0, 1] })
    const first = harness.lease({ resources: { GPU: 1 } })
    const second = harness.lease({ resources: { GPU: 1 } })
    assert.deepEqual([first.gpuIds, second.gpuIds], [[0], [1]])
    harness.returned(second)
    assert.equal(harness.lease({ resources: { GPU: 0.5 } }).workerId, second.workerId)
    assert.notEqual(harness.lease({ resources: { GPU: 0.5 } }).workerId, second.workerId)
  })

  test('at the bound an idle worker makes room for one of another kind', () => {
    const harness = new BookHarness({ total: { CPU: 2 }, workersMax: 2 })
    const { actions } = harness.request({ envKey: 'torch' })
    assert.deepEqual(
      actions.map(({ type }) => type),
      ['stopWorker', 'startWorker', 'grant'],
    )
    harness.step({
      type: 'workerExited',
      workerId: only(actions, 'stopWorker').workerId,
      reason: '',
      startFailed: false,
    })
    assert.equal(harness.book.snapshot().workers.length, 2)
  })

  test('idle workers beyond the kept ones are stopped when they are old', () => {
    const harness = new BookHarness({ total: { CPU: 1 }, idleMs: 100 })
    const plain = harness.lease()
    const extra = harness.lease({ resources: {} })
    const special = harness.lease({ resources: {}, envKey: 'torch' })
    assert.equal(harness.book.wantsTick, false)
    for (const grant of [plain, extra, special]) harness.returned(grant)
    assert.equal(harness.book.wantsTick, true)
    assert.deepEqual(harness.tick(99), [])
    const stopped = all(harness.tick(1), 'stopWorker').map(({ workerId }) => workerId)
    assert.deepEqual(
      stopped.toSorted((a, b) => a - b),
      [plain.workerId, special.workerId],
    )
    assert.equal(harness.book.wantsTick, false)
  })
})

describe('idle workers that are needed', () => {
  const need = (harness: BookHarness, workerId: number, isNeeded = true) =>
    harness.step({ type: 'workerNeeded', workerId, isNeeded })

  test('are not stopped for idleness until they are needed no more', () => {
    const harness = new BookHarness({ total: { CPU: 2 }, prestart: 0, idleMs: 100 })
    const grants = [harness.lease(), harness.lease()]
    const [needed = 0, other = 0] = grants.map(({ workerId }) => workerId)
    need(harness, needed)
    for (const grant of grants) harness.returned(grant)
    assert.equal(only(harness.tick(100), 'stopWorker').workerId, other)
    harness.step({ type: 'workerExited', workerId: other, reason: 'idle', startFailed: false })
    assert.equal(harness.book.wantsTick, false)
    assert.deepEqual(harness.tick(1_000), [])
    need(harness, needed, false)
    assert.equal(harness.book.wantsTick, true)
    assert.equal(only(harness.tick(0), 'stopWorker').workerId, needed)
  })

  test('serve new leases all the same', () => {
    const harness = new BookHarness({ total: { CPU: 1 } })
    const grant = harness.lease()
    need(harness, grant.workerId)
    harness.returned(grant)
    assert.equal(harness.lease({ client: 'other' }).workerId, grant.workerId)
  })

  test('make room for another kind only when nobody else can', () => {
    const harness = new BookHarness({ total: { CPU: 2 }, workersMax: 2 })
    need(harness, 1)
    const first = harness.request({ envKey: 'torch' })
    assert.equal(only(first.actions, 'stopWorker').workerId, 2)
    const last = harness.request({ envKey: 'jax' })
    assert.equal(only(last.actions, 'stopWorker').workerId, 1)
    only(last.actions, 'grant')
  })
})

describe('waiting in get()', () => {
  test('gives the CPU to another, and takes it again', () => {
    const harness = new BookHarness({ total: { CPU: 1, memory: 10 } })
    const parent = harness.lease({ resources: { CPU: 1, memory: 6 } })
    const child = harness.request({ client: 'worker', depth: 1 })
    assert.deepEqual(child.actions, [])
    const { leaseId } = only(harness.step({ type: 'blocked', leaseId: parent.leaseId }), 'grant')
    assert.deepEqual(harness.book.snapshot().available, { CPU: 0, memory: 4 })
    assert.equal(harness.book.snapshot().workers[0]?.state, 'blocked')
    harness.step({ type: 'unblocked', leaseId: parent.leaseId })
    harness.request({ client: 'worker', depth: 1 })
    assert.deepEqual(harness.book.snapshot().available, { CPU: -1, memory: 4 })
    assert.deepEqual(harness.returned({ client: 'worker', leaseId }), [], 'the parent has the CPU')
    only(harness.returned(parent), 'grant')
  })

  test('a lease returned while it waits is free once', () => {
    const harness = new BookHarness({ total: { CPU: 1 } })
    const grant = harness.lease()
    harness.step({ type: 'blocked', leaseId: grant.leaseId })
    harness.returned(grant)
    assert.deepEqual(harness.book.snapshot().available, { CPU: 1 })
    assert.equal(harness.book.snapshot().workers[0]?.state, 'idle')
  })

  test('with all workers waiting the deepest requests are refused, one level at a time', () => {
    const harness = new BookHarness({ total: { CPU: 1 }, workersMax: 2, quantumMs: 200, stuckMs: 1000 })
    const driver = harness.lease()
    harness.step({ type: 'blocked', leaseId: driver.leaseId })
    harness.step({ type: 'blocked', leaseId: driver.leaseId })
    const nested = harness.lease({ client: 'w1', depth: 1 })
    const innocent = harness.request({ client: 'other' }).requestId
    const tooDeep = harness.request({ client: 'w2', depth: 2, label: 'fib' }).requestId
    harness.step({ type: 'blocked', leaseId: nested.leaseId })
    assert.deepEqual(all(harness.tick(999), 'refuse'), [], 'they may wait for what other nodes do')
    const refusal = only(harness.tick(1), 'refuse')
    assert.deepEqual([refusal.requestId, refusal.error], [tooDeep, 'workerLimit'])
    assert.match(refusal.message, /no worker is left: 2 of 2 workers wait in get\(\); .* `--workers-max 4`/)
    assert.deepEqual(all(harness.tick(199), 'refuse'), [])
    assert.equal(only(harness.tick(1), 'refuse').requestId, innocent)
  })

  test('nothing is refused as long as some go on, and those that actors have do not count', () => {
    const harness = new BookHarness({ total: { CPU: 1 }, workersMax: 3, stuckMs: 1000 })
    harness.lease({ client: 'other', resources: {}, isActor: true })
    const first = harness.lease()
    harness.step({ type: 'blocked', leaseId: first.leaseId })
    const second = harness.lease({ client: 'w1', depth: 1 })
    harness.step({ type: 'blocked', leaseId: second.leaseId })
    const { requestId } = harness.request({ client: 'w2', depth: 2 })
    for (let i = 0; i < 5; i++) {
      assert.deepEqual(all(harness.tick(900), 'refuse'), [])
      harness.step({ type: 'unblocked', leaseId: second.leaseId })
      harness.step({ type: 'blocked', leaseId: second.leaseId })
    }
    const refusal = only(harness.tick(1000), 'refuse')
    assert.equal(refusal.requestId, requestId)
    assert.match(refusal.message, /2 of 3 workers wait in get\(\) and 1 is with an actor;/)
  })

  test('work that waits only for actors to end is not refused', () => {
    const harness = new BookHarness({ total: { CPU: 1 }, workersMax: 1, stuckMs: 1000 })
    const actor = harness.lease({ resources: {}, isActor: true })
    const { requestId } = harness.request()
    assert.deepEqual(all(harness.tick(60_000), 'refuse'), [])
    assert.equal(only(harness.returned(actor), 'grant').requestId, requestId)
  })
})

describe('workers that end', () => {
  test('the owner is told, the resources are free, and the worker is replaced', () => {
    const harness = new BookHarness({ total: { CPU: 1 } })
    const { workerId, leaseId } = harness.lease()
    const { requestId } = harness.request({ client: 'other' })
    const actions = harness.step({ type: 'workerExited', workerId, reason: 'SIGSEGV', startFailed: false })
    assert.deepEqual(only(actions, 'lost'), { type: 'lost', client: 'driver', leaseId, reason: 'SIGSEGV' })
    assert.equal(only(actions, 'startWorker').envKey, '')
    assert.equal(only(actions, 'grant').requestId, requestId)
    assert.deepEqual(harness.step({ type: 'workerExited', workerId, reason: '', startFailed: false }), [])
    assert.deepEqual(harness.book.snapshot().available, { CPU: 0 })
  })

  test('a client that goes takes its workers with it, and what they hold is free when they have ended', () => {
    const harness = new BookHarness({ total: { CPU: 1 } })
    const { workerId, leaseId } = harness.lease()
    harness.request()
    const { requestId } = harness.request({ client: 'other' })
    const gone = harness.step({ type: 'clientGone', client: 'driver' })
    assert.equal(only(gone, 'stopWorker').workerId, workerId)
    only(gone, 'startWorker')
    assert.deepEqual(all(gone, 'grant'), [])
    assert.deepEqual(harness.returned({ client: 'driver', leaseId }), [])
    const ended = harness.step({ type: 'workerExited', workerId, reason: 'stopped', startFailed: false })
    assert.deepEqual(
      ended.map(({ type }) => type),
      ['grant'],
    )
    assert.equal(only(ended, 'grant').requestId, requestId)
  })

  test('with the client at the root goes all of its work, whoever owns it, and owners that live on are told', () => {
    const harness = new BookHarness({ total: { CPU: 2 }, prestart: 0 })
    const detached = harness.lease({ client: 'worker', job: 'driver', depth: 1 })
    const kept = harness.lease({ client: 'worker', job: 'other', depth: 1 })
    const waiting = harness.request({ client: 'worker', job: 'driver', depth: 2 }).requestId
    const spared = harness.request({ client: 'worker', job: 'other', depth: 1 }).requestId
    const gone = harness.step({ type: 'clientGone', client: 'driver' })
    assert.equal(only(gone, 'stopWorker').workerId, detached.workerId)
    const lost = only(gone, 'lost')
    assert.deepEqual([lost.client, lost.leaseId], ['worker', detached.leaseId])
    assert.match(lost.reason, /the program for which 'f' ran has ended/)
    const refused = only(gone, 'refuse')
    assert.deepEqual([refused.client, refused.requestId], ['worker', waiting])
    const { workerId } = detached
    const ended = harness.step({ type: 'workerExited', workerId, reason: 'stopped', startFailed: false })
    assert.equal(only(ended, 'grant').requestId, spared)
    assert.deepEqual(all(ended, 'lost'), [], 'it has been told before')
    assert.deepEqual(harness.returned(kept), [])
    assert.deepEqual(harness.book.snapshot().available, { CPU: 1 })
  })

  test('what is being started for a job is given back when its driver goes', () => {
    const harness = new BookHarness({ total: { CPU: 1 } }, { startsAtOnce: false })
    const { requestId } = harness.request({ client: 'worker', job: 'driver' })
    assert.equal(only(harness.step({ type: 'clientGone', client: 'driver' }), 'refuse').requestId, requestId)
    assert.deepEqual(harness.book.snapshot().available, { CPU: 1 })
    assert.deepEqual(harness.step({ type: 'workerReady', workerId: 1 }), [])
  })

  test('starts that were cut short from outside are repeated after a pause and never held against the workers', () => {
    const harness = new BookHarness({ total: { CPU: 1 }, startBackoffMs: 100 }, { startsAtOnce: false })
    const { requestId } = harness.request()
    const killed = { type: 'workerExited', reason: 'signal SIGKILL', startFailed: true, isOutside: true } as const
    let workerId = 1
    for (let count = 0; count < 5; count++) {
      assert.deepEqual(harness.step({ ...killed, workerId }), [])
      assert.deepEqual(harness.tick(99), [])
      workerId = only(harness.tick(1), 'startWorker').workerId
    }
    assert.equal(only(harness.step({ type: 'workerReady', workerId }), 'grant').requestId, requestId)
  })

  test('failing starts are tried again with a pause, then refused, then tried again', () => {
    const harness = new BookHarness(
      { total: { CPU: 1 }, startBackoffMs: 100, startRetryMs: 5_000 },
      { startsAtOnce: false },
    )
    const fail = (workerId: number) =>
      harness.step({ type: 'workerExited', workerId, reason: 'spawn EAGAIN', startFailed: true })
    const { requestId } = harness.request()
    assert.deepEqual(fail(1), [])
    assert.match(
      harness.book.snapshot().pending[0]?.reason ?? '',
      /start a worker again; the last one failed: spawn EAGAIN/,
    )
    assert.deepEqual(harness.tick(99), [])
    assert.equal(only(harness.tick(1), 'startWorker').workerId, 2)
    assert.deepEqual(fail(2), [])
    assert.equal(only(harness.tick(200), 'startWorker').workerId, 3)
    const refusal = only(fail(3), 'refuse')
    assert.deepEqual([refusal.requestId, refusal.error], [requestId, 'workerStart'])
    assert.match(refusal.message, /3 tries in a row failed\): spawn EAGAIN/)
    assert.equal(only(harness.request().actions, 'refuse').error, 'workerStart')
    assert.deepEqual(harness.tick(5_000), [], 'only a request tries again')
    const again = harness.request()
    const { workerId } = only(again.actions, 'startWorker')
    const other = harness.request({ resources: {} })
    assert.deepEqual(other.actions, [], 'one at a time')
    const ready = harness.step({ type: 'workerReady', workerId })
    assert.deepEqual(
      all(ready, 'grant').map(({ requestId: granted }) => granted),
      [again.requestId],
    )
    only(ready, 'startWorker')
  })

  test('an environment that does not start leaves the others alone', () => {
    const harness = new BookHarness({ total: { CPU: 4 }, startFailuresMax: 1 }, { startsAtOnce: false })
    const { workerId } = only(harness.request({ envKey: 'bad' }).actions, 'startWorker')
    const failed = harness.step({ type: 'workerExited', workerId, reason: 'no such module', startFailed: true })
    assert.equal(only(failed, 'refuse').error, 'workerStart')
    only(harness.request({ envKey: 'good' }).actions, 'startWorker')
  })

  test('a worker that dies idle before it served counts as a failed start', () => {
    const harness = new BookHarness({ total: { CPU: 1 } })
    let workerId = 1
    const starts: number[] = []
    for (let count = 0; count < 5; count++) {
      const exit = harness.step({ type: 'workerExited', workerId, reason: 'exit 1', startFailed: false })
      const next = all([...exit, ...harness.tick(1_000)], 'startWorker')
      starts.push(next.length)
      workerId = next[0]?.workerId ?? workerId
    }
    assert.deepEqual(starts, [1, 1, 0, 0, 0])
  })
})

describe('fairness', () => {
  test('the job that holds the fewest workers is served first, then who came first', () => {
    const harness = new BookHarness({ total: { CPU: 3 }, quantumMs: 1e9 })
    const held = [1, 2, 3].map(() => harness.lease({ client: 'greedy', label: 'g' }))
    for (let count = 0; count < 16; count++) harness.request({ client: 'greedy' })
    harness.request({ client: 'late' })
    // Those of one job count as one.
    harness.request({ client: 'worker', job: 'late' })
    const served = held.map((grant) => only(harness.returned(grant), 'grant').client)
    assert.deepEqual(served, ['late', 'greedy', 'greedy'])
    const late = all(harness.actions, 'grant').find(({ client }) => client === 'late')
    assert.ok(late)
    const next = only(harness.step({ type: 'blocked', leaseId: late.leaseId }), 'grant')
    assert.equal(next.client, 'worker', 'a worker that waits in get() counts for nobody')
  })

  test('the deeper still go first, whatever their job holds', () => {
    const harness = new BookHarness({ total: { CPU: 2 } })
    const [first] = [harness.lease({ client: 'a' }), harness.lease({ client: 'a' })]
    harness.request({ client: 'b' })
    harness.request({ client: 'worker', job: 'a', depth: 1 })
    assert.equal(only(harness.returned(first), 'grant').client, 'worker')
  })

  test('the oldest leases of others are asked back after a quantum, as many as wait', () => {
    const harness = new BookHarness({ total: { CPU: 3 }, quantumMs: 200 })
    const leases = [1, 2, 3].map(() => harness.lease({ client: 'greedy' }))
    harness.request({ client: 'greedy' })
    harness.request({ client: 'late' })
    harness.request({ client: 'late' })
    assert.deepEqual(harness.tick(199), [])
    assert.deepEqual(
      harness.tick(1).map((action) => ('leaseId' in action ? [action.type, action.leaseId] : [])),
      leases.slice(0, 2).map(({ leaseId }) => ['reclaim', leaseId]),
    )
    assert.deepEqual(harness.tick(1_000), [], 'not twice, and none for what waits already')
  })

  test('deeper leases and those that wait are left alone', () => {
    const harness = new BookHarness({ total: { CPU: 2 } })
    harness.lease({ client: 'nested', depth: 3 })
    const waits = harness.lease({ client: 'driver' })
    harness.step({ type: 'blocked', leaseId: waits.leaseId })
    harness.lease({ client: 'nested', depth: 3 })
    harness.request({ client: 'late', depth: 1 })
    assert.deepEqual(harness.tick(1_000), [])
  })

  test('an owner is asked for its own lease of another kind at once', () => {
    const harness = new BookHarness({ total: { CPU: 1 } })
    const { leaseId } = harness.lease({ client: 'a', resources: { CPU: 1 } })
    assert.deepEqual(harness.request({ client: 'a', resources: { CPU: 1 } }).actions, [])
    assert.deepEqual(harness.request({ client: 'b', resources: { CPU: 0.5 } }).actions, [])
    assert.deepEqual(harness.request({ client: 'a', resources: { CPU: 0.5 } }).actions, [
      { type: 'reclaim', client: 'a', leaseId },
    ])
  })
})

describe('a node that is taken out of service', () => {
  const closed = { type: 'opened', isOpen: false } as const

  test('asks its leases back, sends away what waits, and grants nothing', () => {
    const harness = new BookHarness({ total: { CPU: 1 } })
    const { leaseId } = harness.lease()
    const { requestId } = harness.request({ client: 'b' })
    const actions = harness.step(closed)
    assert.deepEqual(all(actions, 'reclaim'), [{ type: 'reclaim', client: 'driver', leaseId }])
    const refusal = only(actions, 'refuse')
    assert.deepEqual([refusal.client, refusal.requestId, refusal.error], ['b', requestId, 'busy'])
    harness.returned({ client: 'driver', leaseId })
    assert.deepEqual(harness.book.load().leases, 0)
    assert.equal(harness.book.hasAmpleRoom({ CPU: 0.1 }), false)
    assert.equal(only(harness.request({ mayWait: false }).actions, 'refuse').error, 'busy')
    assert.deepEqual(harness.request().actions, [])
    assert.deepEqual(all(harness.tick(5_000), 'grant'), [])
    assert.match(harness.book.snapshot().pending[0]?.reason ?? '', /taken out of service/)
    assert.deepEqual(harness.step(closed), [])
  })

  test('starts no workers, and serves what waits when it is open again', () => {
    const harness = new BookHarness({ total: { CPU: 1 } }, { startsAtOnce: false })
    harness.step(closed)
    harness.step({ type: 'workerExited', workerId: 1, reason: 'gone', startFailed: false })
    assert.deepEqual(all(harness.tick(10_000), 'startWorker'), [])
    harness.request()
    const actions = harness.step({ type: 'opened', isOpen: true })
    const { workerId } = only(actions, 'startWorker')
    only(harness.step({ type: 'workerReady', workerId }), 'grant')
  })

  test('what holds resources for a worker that is starting is sent away, too', () => {
    const harness = new BookHarness({ total: { CPU: 1 } }, { startsAtOnce: false })
    harness.request()
    only(harness.step(closed), 'refuse')
    assert.deepEqual(harness.book.snapshot().available, { CPU: 1 })
  })
})

test('the snapshot groups what waits and says why', () => {
  const harness = new BookHarness({ total: { CPU: 2 }, workersMax: 3 })
  harness.lease()
  harness.nowMs += 5
  harness.lease()
  harness.request({ label: 'train', resources: { CPU: 1 } })
  harness.request({ label: 'train', resources: { CPU: 1 }, client: 'b', depth: 1 })
  harness.request({ label: 'load', resources: {} })
  harness.request({ label: 'load', resources: {} })
  const { pending, workers, available, total } = harness.book.snapshot()
  assert.deepEqual([total, available], [{ CPU: 2 }, { CPU: 0 }])
  assert.deepEqual(pending, [
    { label: 'train', resources: { CPU: 1 }, count: 2, sinceMs: 1_005, reason: 'waiting for CPU 1: 2 of 2 in use' },
    {
      label: 'load',
      resources: {},
      count: 1,
      sinceMs: 1_005,
      reason: 'waiting for a worker: 3 of 3 in use, 0 wait in get()',
    },
  ])
  assert.deepEqual(workers[0], {
    workerId: 1,
    state: 'leased',
    sinceMs: 1_005,
    gpuIds: [],
    client: 'driver',
    label: 'f',
    leaseId: 2,
  })
})
