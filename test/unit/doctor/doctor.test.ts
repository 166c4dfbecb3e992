import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { DoctorPeer, DoctorReport } from '../../../protocols/admin.ts'
import type { Finding } from '../../../node/doctor/finding.ts'
import { checkLocal } from '../../../node/doctor/local-checks.ts'
import { collectLocalFacts, parseOpenFiles, type LocalFacts } from '../../../node/doctor/local-facts.ts'
import { checkMesh } from '../../../node/doctor/mesh-checks.ts'

const dayMs = 86_400_000
const nowMs = Date.UTC(2030, 0, 1)

const facts: LocalFacts = {
  nodeVersion: '24.1.0',
  shoalVersion: '0.1.0',
  interfaces: [
    { name: 'lo', address: '127.0.0.1', isInternal: true, canMulticast: false },
    { name: 'eth0', address: '192.168.1.7', isInternal: false, canMulticast: true },
  ],
  memoryBytes: 16e9,
  hasMemfd: true,
  sharedMemoryBytes: 8e9,
  openFilesMax: 65_536,
}

const peer: DoctorPeer = {
  node: '0000000000000002',
  name: 'laptop',
  version: '0.1.3',
  linked: true,
  clockOffsetMs: 40,
  dialBack: [
    { address: '/ip4/10.0.0.7/tcp/7461', error: 'no route' },
    { address: '/ip4/192.168.1.7/tcp/7461', error: '' },
  ],
}

const report: DoctorReport = {
  name: 'desk',
  version: '0.1.0',
  nodeVersion: '24.1.0',
  role: 'admin',
  meshName: 'abcd1234',
  head: '0000000000000002',
  listen: { host: '0.0.0.0', port: 7461 },
  addresses: ['/ip4/192.168.1.7/tcp/7461'],
  isMdnsOn: true,
  mdnsSeen: 1,
  peers: [peer],
  certificateExpiresAtMs: nowMs + 30 * dayMs,
  store: { directory: '/dev/shm/x', usedBytes: 0, bytesMax: 1 },
}

function local(name: string, changes: Partial<LocalFacts>): Finding {
  const finding = checkLocal({ ...facts, ...changes }).find((each) => each.name === name)
  assert.ok(finding !== undefined)
  return finding
}

function mesh(name: string, changes: Partial<DoctorReport>, localChanges: Partial<LocalFacts> = {}): Finding {
  const all = checkMesh({ ...report, ...changes }, { ...facts, ...localChanges }, nowMs)
  const finding = all.find((each) => each.name === name)
  assert.ok(finding !== undefined)
  return finding
}

function levelAndText({ level, found }: Finding): [string, string] {
  return [level, found]
}

test('a sound machine in a sound mesh: all is well, and nothing is advised', () => {
  const all = [...checkLocal(facts), ...checkMesh(report, facts, nowMs)]
  assert.deepEqual(
    all.filter(({ level, advice }) => level !== 'ok' || advice !== ''),
    [],
  )
  assert.equal(new Set(all.map(({ name }) => name)).size, all.length)
})

test('every finding that is not well comes with advice', () => {
  const worst = {
    ...report,
    listen: { host: '127.0.0.1', port: 0 },
    head: undefined as never,
    certificateExpiresAtMs: nowMs - 1,
    isMdnsOn: true,
    mdnsSeen: 0,
    peers: [
      { ...peer, linked: false, clockOffsetMs: -1e9, version: '9.9.9', dialBack: [{ address: 'x', error: 'no' }] },
    ],
  }
  const bad: LocalFacts = {
    ...facts,
    nodeVersion: '20.0.0',
    interfaces: [],
    hasMemfd: false,
    sharedMemoryBytes: undefined,
    openFilesMax: 100,
  }
  const all = [...checkLocal(bad), ...checkMesh(worst, bad, nowMs)]
  assert.deepEqual(
    all.filter(({ level, advice }) => level === 'ok' || advice === ''),
    [],
  )
})

describe('the machine', () => {
  test('Node.js', () => {
    assert.equal(local('Node.js', { nodeVersion: '20.19.1' }).level, 'fail')
    assert.equal(local('Node.js', { nodeVersion: 'v26.0.0' }).level, 'ok')
  })

  test('no network', () => {
    const interfaces = [
      { name: 'lo', address: '127.0.0.1', isInternal: true, canMulticast: false },
      { name: 'eth0', address: 'fe80::1', isInternal: false, canMulticast: true },
    ]
    assert.equal(local('network', { interfaces }).level, 'warn')
  })

  test('shared memory against memory', () => {
    const small = { sharedMemoryBytes: 64 * 1024 ** 2, memoryBytes: 1024 ** 3 }
    assert.equal(local('shared memory', { hasMemfd: false, sharedMemoryBytes: undefined }).level, 'warn')
    assert.deepEqual(levelAndText(local('shared memory', { hasMemfd: false, ...small })), [
      'warn',
      '/dev/shm has 64 MiB, the machine 1 GiB',
    ])
    assert.equal(local('shared memory', { hasMemfd: false, ...small, sharedMemoryBytes: 1024 ** 3 }).level, 'ok')
    // The object store lies elsewhere then.
    assert.equal(local('shared memory', small).level, 'ok')
    assert.equal(local('shared memory', { sharedMemoryBytes: undefined }).level, 'ok')
  })

  test('open files', () => {
    const levels = [512, 1024, 4096, Number.POSITIVE_INFINITY, undefined].map(
      (openFilesMax) => local('open files', { openFilesMax }).level,
    )
    assert.deepEqual(levels, ['fail', 'warn', 'ok', 'ok', 'ok'])
  })

  test("the kernel's table of limits", () => {
    const table = (soft: string): string =>
      `Limit                     Soft Limit           Hard Limit           Units\nMax processes             5                    5                    processes\nMax open files            ${soft}                 524288               files\n`
    assert.equal(parseOpenFiles(table('1024')), 1024)
    assert.equal(parseOpenFiles(table('unlimited')), Number.POSITIVE_INFINITY)
    assert.equal(parseOpenFiles('nonsense'), undefined)
    assert.equal(parseOpenFiles(undefined), undefined)
  })

  test('this very machine can be looked at', async () => {
    const found = await collectLocalFacts('0.1.0')
    assert.equal(found.nodeVersion, process.versions.node)
    assert.ok(found.memoryBytes > 0)
    assert.ok(found.interfaces.every(({ isInternal, address }) => isInternal || address !== '127.0.0.1'))
  })
})

describe('the node in its mesh', () => {
  test('where it listens', () => {
    assert.equal(mesh('addresses', { listen: { host: '127.0.0.1', port: 1 } }).level, 'warn')
    assert.equal(mesh('addresses', { addresses: ['/ip4/127.0.0.1/tcp/7461'] }).level, 'warn')
    const found = mesh('addresses', { listen: { host: '::', port: 0 } })
    assert.deepEqual(levelAndText(found), ['ok', 'listens at [::]:7461, tells others /ip4/192.168.1.7/tcp/7461'])
  })

  test('whether others can connect', () => {
    const closed = { ...peer, name: 'tablet', dialBack: [{ address: 'x', error: 'timed out' }] }
    const { dialBack: _, ...silent } = peer
    const all = mesh('firewall', { peers: [closed] })
    assert.deepEqual(levelAndText(all), ['fail', '1 of 1 other nodes cannot connect to this one (tablet: timed out)'])
    assert.match(all.advice, /let TCP port 7461 in/)
    assert.equal(mesh('firewall', { peers: [closed, peer] }).level, 'warn')
    assert.equal(mesh('firewall', { peers: [silent] }).level, 'ok')
    assert.equal(mesh('firewall', { peers: [] }).level, 'ok')
  })

  test('links', () => {
    assert.equal(mesh('links', { peers: [] }).level, 'ok')
    const found = mesh('links', { peers: [peer, { ...peer, name: 'tablet', linked: false }] })
    assert.deepEqual(levelAndText(found), ['warn', 'linked with 1 of 2 other nodes; not with tablet'])
  })

  test('the head', () => {
    assert.deepEqual(levelAndText(mesh('head', {})), ['ok', 'laptop'])
    const { head: _, ...headless } = report
    assert.equal(checkMesh(headless, facts, nowMs).find(({ name }) => name === 'head')?.level, 'warn')
  })

  test('multicast', () => {
    assert.equal(mesh('multicast', { isMdnsOn: false, mdnsSeen: 0 }).level, 'ok')
    assert.equal(mesh('multicast', { mdnsSeen: 0 }).level, 'warn')
    assert.equal(mesh('multicast', { mdnsSeen: 0, peers: [] }).level, 'ok')
    const interfaces = facts.interfaces.map((each) => ({ ...each, canMulticast: false }))
    assert.equal(mesh('multicast', {}, { interfaces }).level, 'warn')
  })

  test('clocks', () => {
    const at = (clockOffsetMs: number): Finding =>
      mesh('clock', { peers: [peer, { ...peer, name: 'tablet', clockOffsetMs }] })
    assert.equal(at(-5_000).level, 'ok')
    assert.deepEqual(levelAndText(at(-8_000)), ['warn', 'tablet is 8 s behind'])
    assert.deepEqual(levelAndText(at(400_000)), ['fail', 'tablet is 400 s ahead'])
    assert.equal(mesh('clock', { peers: [] }).level, 'ok')
  })

  test('versions: the same minor is the same', () => {
    assert.equal(mesh('version', { peers: [{ ...peer, version: '0.1.99' }] }).level, 'ok')
    assert.deepEqual(levelAndText(mesh('version', { peers: [{ ...peer, version: '0.2.0' }] })), [
      'warn',
      'shoal 0.1.0; others run another one: laptop 0.2.0',
    ])
    assert.equal(mesh('version', {}, { shoalVersion: '0.2.0' }).level, 'warn')
  })

  test('the certificate', () => {
    const level = (leftMs: number): string => mesh('certificate', { certificateExpiresAtMs: nowMs + leftMs }).level
    assert.deepEqual([0, 1, 7 * dayMs - 1, 7 * dayMs].map(level), ['fail', 'warn', 'warn', 'ok'])
  })
})
