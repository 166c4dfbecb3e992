import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { groupMemory } from '../../../node/memory/group-memory.ts'
import { groupFolders, memoryReader, parseGroup, parseMeminfo } from '../../../node/memory/memory-use.ts'
import { temporaryDirectory } from '../../support/daemon-process.ts'

describe('the memory of the machine', () => {
  test('is what the system says, without what it can take back', () => {
    const text = 'MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\n'
    assert.deepEqual(parseMeminfo(text), { usedBytes: 600 * 1024, totalBytes: 1000 * 1024 })
  })

  for (const text of ['', 'MemTotal: 1000 kB\n', 'MemTotal: 10 kB\nMemAvailable: 20 kB\n', 'MemTotal: x kB']) {
    test(`is not known from ${JSON.stringify(text)}`, () => assert.equal(parseMeminfo(text), undefined))
  }

  test('is read from the file that is named, and is not known without it', async () => {
    const file = path.join(temporaryDirectory(), 'meminfo')
    const read = await memoryReader(file)
    assert.equal(await read(), undefined)
    writeFileSync(file, 'MemTotal: 4 kB\nMemAvailable: 1 kB\n')
    assert.deepEqual(await read(), { usedBytes: 3072, totalBytes: 4096 })
  })

  test('can be read here', { skip: process.platform !== 'linux' }, async () => {
    const use = await (await memoryReader())()
    assert.ok(use !== undefined && use.usedBytes > 0 && use.usedBytes <= use.totalBytes)
  })
})

describe('the memory of control groups', () => {
  test('those above count, too, of version 1 and 2', () => {
    const text = '4:memory:/pods/one\n3:cpuset:/\n0::/user.slice/a\n'
    assert.deepEqual(
      groupFolders(text, '/cg').map(({ folder, version }) => `${version} ${folder}`),
      ['1 /cg/memory/pods/one', '1 /cg/memory/pods', '1 /cg/memory', '2 /cg/user.slice/a', '2 /cg/user.slice', '2 /cg'],
    )
    assert.deepEqual(groupFolders('0::/\n', '/cg'), [{ folder: '/cg', version: 2 }])
    assert.deepEqual(groupFolders('', '/cg'), [])
  })

  test('the cache of files is free', () => {
    const stat = 'anon 500\ninactive_file 100\nactive_file 50\nshmem 30\n'
    const cache = ['inactive_file', 'active_file']
    assert.deepEqual(parseGroup({ total: '1000\n', current: '700\n', stat, cache }), {
      usedBytes: 550,
      totalBytes: 1000,
    })
  })

  test('without a limit there is nothing to say', () => {
    const cache = ['inactive_file']
    for (const total of ['max\n', '', '9223372036854771712\n', '0']) {
      assert.equal(parseGroup({ total, current: '700\n', stat: '', cache }), undefined, total)
    }
    assert.equal(parseGroup({ total: '1000', current: '', stat: '', cache }), undefined)
  })
})

describe('the memory of groups of processes', () => {
  test('sums up what each has to itself', async () => {
    const root = temporaryDirectory()
    const add = (pid: number, group: number, kibibytes: number, name = 'node'): void => {
      mkdirSync(path.join(root, String(pid)))
      writeFileSync(path.join(root, String(pid), 'stat'), `${pid} (${name}) S 1 ${group} ${group} 0 -1`)
      writeFileSync(path.join(root, String(pid), 'status'), `Name: x\nVmRSS: 999 kB\nRssAnon:\t ${kibibytes} kB\n`)
    }
    add(10, 10, 100)
    add(11, 10, 20, 'a) b ( c')
    add(12, 12, 7)
    add(13, 13, 1000)
    mkdirSync(path.join(root, '14'))
    mkdirSync(path.join(root, 'self'))
    const bytes = await groupMemory([10, 12, 99], root)
    assert.deepEqual(Object.fromEntries(bytes), { 10: 120 * 1024, 12: 7 * 1024, 99: 0 })
  })
})
