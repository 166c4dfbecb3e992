import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { ExplainedRequest } from '../../../protocols/admin.ts'
import { findByPrefix } from '../../../node/cli/find-by-prefix.ts'
import { formatActors, listActors } from '../../../node/cli/format-actors.ts'
import { formatExplained } from '../../../node/cli/format-explained.ts'
import { formatMesh } from '../../../node/cli/format-mesh.ts'
import { formatGpu } from '../../../node/cli/format-gpu.ts'
import { formatNodes } from '../../../node/cli/format-nodes.ts'
import { formatDuration, formatStatus } from '../../../node/cli/format-status.ts'
import { formatLocated } from '../../../node/cli/objects.ts'
import { formatTable } from '../../../node/cli/table.ts'
import { UsageError } from '../../../node/cli/usage-error.ts'
import type { NodeStatus } from '../../../node/status.ts'
import { MeshView } from '../../../node/view/mesh-view.ts'
import { nodeReport } from '../../../node/view/node-report.ts'
import { makeAdvert, nodeId } from '../view/make-advert.ts'

const self = nodeId(1)

/** Three nodes: this one, the head with an odd name, and one that has fallen silent. */
function reports(): ReturnType<typeof nodeReport>[] {
  const view = new MeshView(self)
  view.apply(makeAdvert({ node: self }), 0, 'direct')
  view.apply(makeAdvert({ node: nodeId(3), name: 'tablet', isOpen: false, total: {}, available: {} }), 0, 'gossip')
  view.tick(12_000)
  view.linkUp(nodeId(2), 12_000)
  const odd = {
    node: nodeId(2),
    name: 'lap\u001b[2Jtop',
    addresses: [],
    available: { CPU: -1 },
    total: { CPU: 8, tpu: 2 },
  }
  view.apply(makeAdvert(odd), 12_000, 'direct')
  const head = { node: nodeId(2), term: 7 }
  return view
    .nodes()
    .map((node) => nodeReport(node, { self, head, nowMs: 62_000, ...(node.isLinked ? { roundTripMs: 0.25 } : {}) }))
}

describe('nodes', () => {
  test('a report says all that is known', () => {
    const [own, silent, head] = reports()
    assert.deepEqual([own?.isSelf, own?.isHead, own?.linked, own?.upMs], [true, false, false, 61_000])
    assert.deepEqual([own?.id, own?.version, own?.resources.total['CPU']], [self, '0.1.0', 4])
    assert.deepEqual([silent?.state, silent?.linked], ['suspected', false])
    assert.deepEqual([head?.isHead, head?.term, head?.linked, head?.roundTripMs], [true, 7, true, 0.25])
    assert.ok(own !== undefined && !('term' in own) && !('roundTripMs' in own) && !('startedAtMs' in own))
  })

  test('the table', () => {
    assert.deepEqual(formatNodes(reports(), { isLong: false }).split('\n'), [
      'NAME        NODE              ROLE   STATE                        CPU FREE  GPU FREE  MEMORY FREE  OTHERS FREE  LOAD  UP     ADDRESS',
      'desk        0000000000000001  admin  this node                    2.5/4     -         7.5/7.5 GiB               0.50  1m 1s  192.168.1.7:7461',
      'tablet      0000000000000003  admin  silent, takes no work        -         -         -                         0.50  1m 1s  192.168.1.7:7461',
      'lap?[2Jtop  0000000000000002  admin  linked 0.3ms, head (term 7)  0/8       -         -            tpu 0/2      0.50  1m 1s  -',
      '',
      '3 nodes, head lap?[2Jtop (term 7), CPU 2.5 of 12 free',
    ])
  })

  test('what is known of a GPU', () => {
    assert.equal(formatGpu({}), '')
    const gpu = { name: 'NVIDIA H100\u001b[2J', type: 'H100', memoryBytes: 80 * 2 ** 30, free: 0.25 }
    assert.equal(formatGpu(gpu), 'NVIDIA H100?[2J, type H100, 80 GiB, 0.25 free')
  })

  test('the long form', () => {
    const text = formatNodes(reports(), { isLong: true })
    assert.match(text, /desk \(0000000000000001\), shoal 0\.1\.0\n {2}addresses {2}\/ip4\/192\.168\.1\.7\/tcp\/7461\n/)
    assert.match(text, /GPUs {7}A100, 37\.3 GiB; unknown\n {2}labels {5}zone=lab1/)
  })
})

const request: ExplainedRequest = {
  label: 'train',
  resources: { GPU: 1 },
  asked: 'GPU 1',
  strategy: 'on any node',
  waitingMs: 2_000,
  state: 'infeasible',
  where: 'no node could ever run it',
  headSays: '',
  nodes: [{ node: self, name: 'desk', verdict: 'never', reason: 'it has no GPU' }],
}

describe('what waits', () => {
  test('requests that are alike are told once, with the longest wait', () => {
    const other = {
      ...request,
      label: 'cube',
      state: 'head',
      where: 'with the head',
      headSays: 'all are busy',
      nodes: [],
    } as const
    const text = formatExplained([request, { ...request, waitingMs: 61_000 }, other], undefined)
    assert.equal(
      text,
      [
        'train (2 requests): GPU 1, on any node, waits for 1m 1s',
        '  where      no node could ever run it',
        '  NAME  NODE              VERDICT  WHY',
        '  desk  0000000000000001  never    it has no GPU',
        '',
        'cube: GPU 1, on any node, waits for 2s',
        '  where      with the head',
        '  head       all are busy',
      ].join('\n'),
    )
    assert.equal(formatExplained([], undefined), 'Nothing waits for a worker.')
    assert.equal(formatExplained([], 'train'), 'No task "train" waits for a worker.')
  })

  test('on the status page', () => {
    const info = {
      meshId: 'ab',
      meshName: 'abcd1234',
      self,
      name: 'desk',
      role: 'admin',
      head: nodeId(2),
      headName: 'laptop',
      term: 7,
      nodeCount: 2,
      links: [{ node: nodeId(2), name: 'laptop' }],
    } as const
    assert.equal(
      formatMesh(info, [request, { ...request, waitingMs: 61_000 }]),
      [
        'Mesh abcd1234, as admin 0000000000000001',
        '  head       laptop (term 7)',
        '  nodes      2, 1 link',
        '  waiting    (see `shoal explain`)',
        '      2 x train (GPU 1), for 1m 1s: no node could ever run it',
      ].join('\n'),
    )
    assert.match(formatMesh({ ...info, head: self }, []), /head {7}this node \(term 7\)\n {2}nodes {6}2, 1 link$/)
    const { head: _, headName: __, term: ___, ...headless } = info
    assert.match(formatMesh(headless, []), /head {7}none now\n/)
  })
})

describe('names that people type', () => {
  const all = [
    { id: 'aa11', name: 'desk' },
    { id: 'aa22', name: 'laptop' },
    { id: 'bb33', name: 'laptop' },
    { id: 'cc' },
    { id: 'cc44' },
  ]

  test('a name, an id, or the beginning of one', () => {
    assert.equal(findByPrefix('node', 'desk', all).id, 'aa11')
    assert.equal(findByPrefix('node', 'aa2', all).id, 'aa22')
    assert.equal(findByPrefix('node', 'bb33', all).id, 'bb33')
    assert.equal(findByPrefix('node', 'cc', all).id, 'cc', 'a whole id is no beginning of another')
  })

  test('what is not clear is asked back', () => {
    assert.throws(
      () => findByPrefix('node', 'aa', all),
      /"aa" may be desk \(aa11\) or laptop \(aa22\): give more of the id/,
    )
    assert.throws(() => findByPrefix('node', 'laptop', all), /may be laptop \(aa22\) or laptop \(bb33\)/)
    assert.throws(() => findByPrefix('node', 'x', all), UsageError)
    assert.throws(() => findByPrefix('node', '', all), /there is no node ""/)
    assert.throws(() => findByPrefix('token', 'x', []), /there is no token "x"; there is none/)
  })
})

test('times in two units at most, without zeros', () => {
  const texts = [0, 999.4, 60_000, 3_600_000, 90_061_000, 86_400_000 * 30].map(formatDuration)
  assert.deepEqual(texts, ['0ms', '999ms', '1m', '1h', '1d 1h', '30d'])
})

test('columns are as wide as they look', () => {
  assert.equal(
    formatTable(
      ['A', 'B'],
      [
        ['\u001b[1mlong\u001b[22m', 'x'],
        ['', 'y'],
      ],
    ),
    'A     B\n\u001b[1mlong\u001b[22m  x\n      y',
  )
})

test('no text of others steers the terminal', () => {
  const evil = '\u001b[2J\u001b]0;pwned\u0007\nFAKE LINE'
  const worker = { workerId: 1, pid: 7, state: 'leased', label: evil, forMs: 5, gpuIds: [] }
  const request = { label: evil, resources: { CPU: 1 }, count: 2, forMs: 5, reason: evil }
  const program = { role: 'driver', pid: 8, program: evil, tasks: { running: 0, queued: 0 } }
  const status = {
    node: { hostname: 'desk', pid: 1, version: '0.1.0', uptimeMs: 1, cpuModel: 'x', loadAverage: 0, socketPath: '/s' },
    resources: { total: { CPU: 1 }, available: { CPU: 1 }, gpus: [] },
    store: {
      usedBytes: 0,
      bytesMax: 1,
      objects: 0,
      spilled: { bytes: 0, files: 0, directory: '/d', problem: evil },
      counters: { spilledBytes: 0, restoredBytes: 0 },
    },
    workers: [worker],
    pending: [request],
    clients: [program],
  } as unknown as NodeStatus
  const holders = [{ node: nodeId(1), name: evil }]
  const texts = [
    formatStatus(status),
    formatLocated(evil, { holders, ms: 1 }),
    formatLocated(evil, { holders: [], ms: 1 }),
  ]
  assert.throws(
    () => findByPrefix('node', 'x', [{ id: 'aa', name: evil }]),
    ({ message }: Error) => texts.push(message) > 0,
  )
  assert.equal(texts.length, 4)
  for (const text of texts) {
    assert.match(text, /FAKE LINE/)
    assert.ok(!text.includes('\u001b[2J') && !text.includes('\u0007') && !text.includes('\nFAKE LINE'), text)
  }
})

test('a table may be longer than a call has arguments', () => {
  const rows = Array.from({ length: 200_000 }, () => ['x', 'y'])
  assert.equal(formatTable(['A', 'B'], rows).split('\n').length, rows.length + 1)
})

describe('actors', () => {
  test('of all nodes, with where they are and who owns them', () => {
    const owner = { client: `${self}0000000000000001`, pid: 7, role: 'driver', program: '/home/me/train.ts' } as const
    const common = { className: 'Counter', restarts: 0, isDetached: false } as const
    const place = { node: nodeId(2), pid: 41 }
    const named = {
      ...common,
      id: 'a2',
      state: 'alive',
      namespace: 'default',
      actorName: 'hits',
      ...place,
      owner,
    } as const
    const detached = {
      ...common,
      id: 'a1',
      className: 'Store',
      state: 'restarting',
      restarts: 2,
      isDetached: true,
    } as const
    const other = { ...detached, namespace: 'lab', actorName: 'store' }
    const answers = [
      {
        node: self,
        name: 'desk',
        value: { actors: [other, { ...common, id: 'a0', state: 'pending', owner } as const], more: 0, silent: [] },
      },
      {
        node: nodeId(2),
        name: 'lap',
        value: { actors: [named], more: 3, silent: [{ ...owner, role: 'worker', pid: 8 } as const] },
      },
      { node: nodeId(3), name: 'tablet', problem: 'there is no link to it' },
    ]
    assert.deepEqual(formatActors(listActors(answers)).split('\n'), [
      'ACTOR  CLASS    NAME       STATE       NODE  PID  RESTARTS  OWNER',
      'a0     Counter  -          pending     -     -    0         train.ts (pid 7)',
      'a2     Counter  hits       alive       lap   41   0         train.ts (pid 7)',
      'a1     Store    lab/store  restarting  -     -    2         detached',
      'and 3 actors more',
      'Busy, so that their actors are not known: worker 8',
      'tablet does not say: there is no link to it',
    ])
    assert.deepEqual(
      listActors(answers, 'hits').actors.map(({ id, nodeName }) => [id, nodeName]),
      [['a2', 'lap']],
    )
  })
})
