import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  parseChoice,
  parseDuration,
  parseLabel,
  parseListen,
  parseObjectId,
  parsePeer,
  parseText,
} from '../../../node/cli/parse-options.ts'
import { nodeOptionsOf } from '../../../node/cli/start-options.ts'
import { UsageError } from '../../../node/cli/usage-error.ts'

describe('options about the mesh', () => {
  test('labels', () => {
    assert.deepEqual(parseLabel('zone=lab1'), { zone: 'lab1' })
    assert.deepEqual(parseLabel('a=', { zone: 'x=y' }), { zone: 'x=y', a: '' })
    assert.deepEqual(parseLabel('a=b=c'), { a: 'b=c' })
    assert.throws(() => parseLabel('zone'), /--label must be a name and a value, such as zone=lab1; got "zone"/)
    assert.throws(() => parseLabel('zone=2', { zone: '1' }), /--label names "zone" twice/)
  })

  const listens: [string, { host: string; port: number }][] = [
    ['0.0.0.0', { host: '0.0.0.0', port: 0 }],
    ['127.0.0.1:7461', { host: '127.0.0.1', port: 7461 }],
    ['::1', { host: '::1', port: 0 }],
    ['[::1]', { host: '::1', port: 0 }],
    ['[2001:db8::7]:65535', { host: '2001:db8::7', port: 65_535 }],
  ]
  for (const [text, expected] of listens) {
    test(`--listen ${text}`, () => {
      assert.deepEqual(parseListen(text), expected)
    })
  }
  for (const text of ['', 'desk', '127.0.0.1:', '127.0.0.1:65536', '127.0.0.1:x', ':7461', '1.2.3', '[::1', '::1]:5']) {
    test(`not --listen ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseListen(text), UsageError)
    })
  }

  test('addresses of peers', () => {
    assert.deepEqual(parsePeer('192.168.1.7:7461'), ['/ip4/192.168.1.7/tcp/7461'])
    assert.deepEqual(parsePeer('[2001:db8::7]:7461', ['/a']), ['/a', '/ip6/2001:db8::7/tcp/7461'])
    assert.deepEqual(parsePeer('/dns4/desk.lan/tcp/7461/p2p/12D3Koo'), ['/dns4/desk.lan/tcp/7461/p2p/12D3Koo'])
    for (const text of ['192.168.1.7', 'desk:7461', '', '2001:db8::7', '192.168.1.7:0', '/ip4/1.2.3.4/tcp/1 x']) {
      assert.throws(() => parsePeer(text), /--peer must be an address such as/, text)
    }
  })

  test('times', () => {
    const parse = parseDuration('--ttl')
    assert.deepEqual(
      ['45s', '30m', '1h', '2d', '1h30m'].map(parse),
      [45_000, 1_800_000, 3_600_000, 172_800_000, 5_400_000],
    )
    for (const text of ['', '1', 'h', '1 h', '1h!', '0s', '-1h', '1.5h', '99999999999999d']) {
      assert.throws(() => parse(text), /--ttl must be a time, such as 30m, 1h or 2d/, text)
    }
  })

  test('choices', () => {
    const parse = parseChoice('--role', ['worker', 'admin'])
    assert.equal(parse('admin'), 'admin')
    assert.throws(() => parse('Admin'), /--role must be one of worker, admin; got "Admin"/)
  })
})

describe('ids of objects', () => {
  const id = '0123456789ab'.repeat(3) + 'cdef0123'

  test('as they are, in capitals, and as a ref prints itself', () => {
    for (const text of [id, id.toUpperCase(), ` ${id}\n`, `ObjectRef(${id})`]) assert.equal(parseObjectId(text), id)
  })

  const wrong: [string, RegExp][] = [
    ['', /has 44 hex digits, as `ref\.id` and `shoal objects` show it; got ""/],
    ['abc', /has 44 hex digits, as `ref\.id` and `shoal objects` show it; got "abc"/],
    ['../x', /has 44 hex digits, .* got "\.\.\/x"/],
    [`${id}0`, /has 44 hex digits, .* got "/],
    [id.slice(0, 12), /has 44 hex digits, and all are needed; "0123456789ab" has 12/],
  ]
  for (const [text, message] of wrong) {
    test(`not ${JSON.stringify(text)}`, () => {
      assert.throws(
        () => parseObjectId(text),
        (error) => error instanceof UsageError && message.test(error.message),
      )
    })
  }
})

describe('what the node is told', () => {
  test('only what was said', () => {
    const { name, labels, listen, mdns, mesh, join } = nodeOptionsOf({ mdns: true, mesh: true })
    assert.deepEqual([name, labels, listen, mdns, mesh, join], Array.from({ length: 6 }))
  })

  test('all of it', () => {
    const listen = { host: '127.0.0.1', port: 7461 }
    const options = nodeOptionsOf(
      { cpus: 2, name: 'desk', label: { zone: 'lab1' }, listen, peer: ['/a'], mdns: false, mesh: false },
      { join: 'shoal1.x' },
    )
    const { cpus, name, labels, peers, mdns, mesh, join } = options
    assert.deepEqual(
      { cpus, name, labels, listen: options.listen, peers, mdns, mesh, join },
      {
        cpus: 2,
        name: 'desk',
        labels: { zone: 'lab1' },
        listen,
        peers: ['/a'],
        mdns: false,
        mesh: false,
        join: 'shoal1.x',
      },
    )
  })

  test('a store fits into the memory', () => {
    assert.equal(nodeOptionsOf({ store: 2 ** 30 }, {}, 2 ** 30).storeBytesMax, 2 ** 30)
    assert.throws(
      () => nodeOptionsOf({ store: 2 ** 40 }, {}, 3 * 2 ** 30),
      (error) =>
        error instanceof UsageError &&
        /^--store is 1 TiB, and this machine has 3 GiB of memory: give less; .*--spill-dir/.test(error.message),
    )
  })

  test('values are spilled somewhere, or not at all', () => {
    assert.equal(nodeOptionsOf({ spill: true, spillDir: '/disk' }).spillDirectory, '/disk')
    assert.equal(nodeOptionsOf({ spill: false }).spill, false)
    assert.throws(
      () => nodeOptionsOf({ spill: false, spillDir: '/disk' }),
      /--spill-dir says .* --no-spill .* give one/,
    )
    assert.throws(() => nodeOptionsOf({ spillDir: '' }), UsageError)
  })

  test('texts are there, and no options', () => {
    const parse = parseText('--spill-dir', 'a folder')
    assert.equal(parse('./-x'), './-x')
    for (const text of ['', ' ', '-', '--no-mesh']) {
      assert.throws(() => parse(text), /--spill-dir must be a folder; got "/, text)
    }
  })

  test('what cannot be is wrong usage', () => {
    assert.throws(() => nodeOptionsOf({ label: { 'a b': 'x' } }), UsageError)
    assert.throws(() => nodeOptionsOf({ name: 'a b' }), UsageError)
  })
})
