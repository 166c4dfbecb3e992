import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BulkExchange, type BulkContent } from '../../../node/bulk/bulk-exchange.ts'
import { bulkAnswer, bulkRequest, encodeMessage } from '../../../node/bulk/bulk-messages.ts'
import { ObjectLostError, ProtocolError, UnreachableError } from '../../../protocols/errors.ts'
import { BulkLab, bulkPair, type MemoryStream } from '../../support/bulk-pair.ts'
import { until } from '../../support/daemon-process.ts'
import { seededRandom } from '../../support/seeded-random.ts'

const [A, B] = ['aa'.repeat(8), 'bb'.repeat(8)] as const

function setUp(options: { stallMs?: number } = {}) {
  const lab = new BulkLab()
  const logged: string[] = []
  const exchangeOf = (node: string): BulkExchange => {
    const log = (text: string): void => void logged.push(text)
    const exchange = new BulkExchange({ network: lab.networkOf(node), log, ...options })
    lab.join(node, exchange)
    return exchange
  }
  return { lab, logged, a: exchangeOf(A), b: exchangeOf(B) }
}

/** An exchange whose other side is the test itself. */
function setUpRaw(options: { stallMs?: number; cut?: (bytes: Uint8Array) => Uint8Array[] } = {}) {
  const [mine, theirs] = bulkPair(options.cut)
  const network = { openBulk: () => Promise.resolve(mine) }
  return { exchange: new BulkExchange({ network, log: () => {}, ...options }), mine, theirs }
}

function contentOf(bytes: Uint8Array, chunkBytes = 256 * 1024): BulkContent {
  return {
    size: bytes.length,
    chunks: (async function* () {
      for (let at = 0; at < bytes.length; at += chunkBytes)
        yield await Promise.resolve(bytes.subarray(at, at + chunkBytes))
    })(),
  }
}

function patterned(count: number, seed: number): Buffer {
  const bytes = Buffer.alloc(count)
  for (let at = 0; at + 4 <= count; at += 4) bytes.writeUInt32LE(Math.imul(at + seed, 2_654_435_761) >>> 0, at)
  return bytes
}

async function all(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(bytes))
}

const request = (name: string, bytesMax = 1e9) => ({ kind: 'blob', name, bytesMax }) as const

describe('bulk exchange', () => {
  test('what is asked for arrives as it is, from nothing to 20 MB', async () => {
    const { a, b } = setUp()
    const sizes = [0, 1, 4096, 262_143, 262_144, 262_145, 20_000_000]
    const contents = new Map(sizes.map((size) => [String(size), patterned(size, size)]))
    b.onRequest('blob', async (from, name) => {
      assert.equal(from, A)
      return contentOf(contents.get(name) ?? assert.fail(name))
    })
    const fetched = await Promise.all(
      sizes.map(async (size) => {
        const { size: told, bytes } = await a.fetch(B, request(String(size), size))
        assert.equal(told, size)
        return await all(bytes)
      }),
    )
    for (const [n, size] of sizes.entries()) assert.ok(contents.get(String(size))?.equals(fetched[n] as Buffer))
  })

  test('the kinds have each a handler of their own', async () => {
    const { a, b } = setUp()
    b.onRequest('blob', () => Promise.resolve(contentOf(Buffer.from('blob'))))
    b.onRequest('blob', () => Promise.resolve(contentOf(Buffer.from('blob'))))
    for (const kind of ['blob', 'blob'] as const) {
      const { bytes } = await a.fetch(B, { kind, name: 'x', bytesMax: 100 })
      assert.equal((await all(bytes)).toString(), kind)
    }
    await assert.rejects(b.fetch(A, request('x')), ObjectLostError)
  })

  test('at most 16 are fetched and 16 served at a time, and all in the end', async () => {
    const { a, b, lab } = setUp()
    const gate = Promise.withResolvers<void>()
    let running = 0
    let runningMost = 0
    b.onRequest('blob', async () => {
      runningMost = Math.max(runningMost, ++running)
      await gate.promise
      running--
      return contentOf(Buffer.from('x'))
    })
    // Three nodes ask, so that more is asked than one node alone may.
    const askers = [a, ...[1, 2].map((n) => new BulkExchange({ network: lab.networkOf(`node ${n}`), log: () => {} }))]
    const fetches = askers.flatMap((asker) =>
      Array.from({ length: 20 }, async () => (await all((await asker.fetch(B, request('x'))).bytes)).toString()),
    )
    await until('as many as may are running', () => running === 16 && lab.streams.length === 48)
    gate.resolve()
    assert.deepEqual(
      await Promise.all(fetches),
      Array.from({ length: 60 }, () => 'x'),
    )
    assert.equal(runningMost, 16)
  })

  test('too many that wait are refused', async () => {
    const { exchange, theirs } = setUpRaw()
    const errors: unknown[] = []
    // The streams are all one, of which nothing comes.
    const waiting = Array.from({ length: 10_016 }, () =>
      exchange.fetch(B, request('x')).catch((error) => errors.push(error)),
    )
    await assert.rejects(exchange.fetch(B, request('x')), (error) => {
      return error instanceof UnreachableError && /10000 transfers/.test(error.message)
    })
    assert.equal(errors.length, 0)
    theirs.abort('enough')
    await Promise.all(waiting)
    assert.equal(errors.length, 10_016)
  })

  test('what the other side does not have is lost, and what it cannot give is told', async () => {
    const { a, b, logged } = setUp()
    b.onRequest('blob', (_, name) =>
      Promise.reject(name === 'lost' ? new ObjectLostError('freed') : new Error(`disk ${'x'.repeat(5000)}`)),
    )
    await assert.rejects(a.fetch(B, request('lost')), (error) => {
      return error instanceof ObjectLostError && /freed/.test(error.message)
    })
    await assert.rejects(a.fetch(B, request('broken')), (error) => {
      return error instanceof UnreachableError && /disk xxx/.test(error.message)
    })
    assert.equal(logged.length, 1)
    await assert.rejects(a.fetch('cc'.repeat(8), request('x')), UnreachableError)
  })

  test('more than the asker takes is not sent', async () => {
    const { a, b } = setUp()
    b.onRequest('blob', () => Promise.resolve(contentOf(Buffer.alloc(101))))
    await assert.rejects(a.fetch(B, request('x', 100)), ObjectLostError)
    assert.equal((await a.fetch(B, request('x', 101))).size, 101)
  })

  for (const [what, sent] of [
    ['less', 99_999],
    ['more', 100_001],
  ] as const) {
    test(`a transfer that has ${what} than it was said to have is an error`, async () => {
      const { a, b } = setUp()
      b.onRequest('blob', () => Promise.resolve({ ...contentOf(Buffer.alloc(sent), 50_001), size: 100_000 }))
      const { bytes } = await a.fetch(B, request('x'))
      await assert.rejects(all(bytes), UnreachableError)
      const { exchange, theirs } = setUpRaw()
      const fetching = exchange.fetch(B, request('x'))
      await theirs.write(encodeMessage(bulkAnswer, { status: 'ok', size: 10, text: '' }))
      const answered = await fetching
      await theirs.write(Buffer.alloc(what === 'less' ? 9 : 11))
      await theirs.end()
      await assert.rejects(all(answered.bytes), what === 'less' ? UnreachableError : ProtocolError)
    })
  }

  test('who aborts in the middle ends it for both, and makes place for others', async () => {
    const { a, b, lab } = setUp()
    let ended = 0
    b.onRequest('blob', () =>
      Promise.resolve({
        size: 10_000_000,
        chunks: (async function* () {
          try {
            for (let n = 0; n < 100; n++) yield await Promise.resolve(Buffer.alloc(100_000))
          } finally {
            ended++
          }
        })(),
      }),
    )
    for (let n = 0; n < 40; n++) {
      const { bytes, cancel } = await a.fetch(B, request('x'))
      if (n % 3 === 0) cancel('enough')
      else if (n % 3 === 1) for await (const _ of bytes) break
      else {
        lab.streams.at(-1)?.abort('the cable was pulled')
        await assert.rejects(all(bytes), (error) => {
          return error instanceof UnreachableError && /cable was pulled/.test(error.message)
        })
      }
    }
    await until('all are ended on the other side, too', () => ended === 40)
    const { bytes } = await a.fetch(B, request('x'))
    assert.equal((await all(bytes)).length, 10_000_000)
  })

  test('who says nothing for too long is given up', async () => {
    const silent = setUpRaw({ stallMs: 20 })
    await assert.rejects(silent.exchange.fetch(B, request('x')), UnreachableError)
    assert.match(silent.theirs.abortReason ?? '', /no progress/)

    const stuck = setUpRaw({ stallMs: 20 })
    const fetching = stuck.exchange.fetch(B, request('x'))
    await stuck.theirs.write(encodeMessage(bulkAnswer, { status: 'ok', size: 10, text: '' }))
    await stuck.theirs.write(Buffer.alloc(9))
    await assert.rejects(all((await fetching).bytes), (error) => {
      return error instanceof UnreachableError && /1 bytes to come/.test(error.message)
    })
    assert.notEqual(stuck.theirs.abortReason, undefined)
  })

  test('a side that does not read is given up', async () => {
    const { exchange, mine, theirs } = setUpRaw({ stallMs: 20 })
    exchange.onRequest('blob', () => Promise.resolve(contentOf(Buffer.alloc(1_000_000))))
    exchange.serve(A, mine)
    await theirs.write(encodeMessage(bulkRequest, request('x')))
    await until('it is given up', () => theirs.abortReason !== undefined)
  })

  test('a request that takes long is not given up while the other side shows that it lives', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
    const { a, b } = setUp()
    const gate = Promise.withResolvers<void>()
    b.onRequest('blob', async () => {
      await gate.promise
      return contentOf(Buffer.from('late'))
    })
    const fetching = a.fetch(B, request('x'))
    for (let n = 0; n < 10; n++) {
      await new Promise(setImmediate)
      t.mock.timers.tick(4000)
    }
    gate.resolve()
    assert.equal((await all((await fetching).bytes)).toString(), 'late')
  })

  test('however the bytes are cut, the same arrives', async () => {
    const seed = Math.floor(Math.random() * 2 ** 32)
    const random = seededRandom(seed)
    const cut = (bytes: Uint8Array): Uint8Array[] => {
      const pieces: Uint8Array[] = []
      for (let at = 0; at < bytes.length;) {
        const end = at + Math.floor(random() * 9)
        pieces.push(bytes.subarray(at, end))
        at = end
      }
      return pieces
    }
    for (let n = 0; n < 30; n++) {
      const { exchange, mine, theirs } = setUpRaw({ cut })
      const server = new BulkExchange({ network: { openBulk: () => Promise.resolve(mine) }, log: () => {} })
      const content = patterned(Math.floor(random() * 1000), n)
      server.onRequest('blob', () => Promise.resolve(contentOf(content, 100)))
      server.serve(A, theirs)
      const { bytes } = await exchange.fetch(B, request('some name'))
      assert.ok((await all(bytes)).equals(content), `seed ${seed}, round ${n}`)
    }
  })

  test('garbage is refused by both sides', async () => {
    const seed = Math.floor(Math.random() * 2 ** 32)
    const random = seededRandom(seed)
    const garbage = (valid: Buffer): Buffer => {
      if (random() < 0.3) return Buffer.from(Array.from({ length: Math.floor(random() * 100) }, () => random() * 256))
      const bytes = Buffer.from(valid)
      for (let n = 0; n < 1 + random() * 3; n++) bytes[Math.floor(random() * bytes.length)] = random() * 256
      return bytes.subarray(0, random() < 0.3 ? Math.floor(random() * bytes.length) : bytes.length)
    }
    const ended = async (stream: MemoryStream): Promise<void> => {
      // Either an answer and an end in good order, or an abort.
      await all(stream.source).catch(() => {})
    }
    for (let n = 0; n < 300; n++) {
      const serving = setUpRaw()
      serving.exchange.onRequest('blob', (_, name) => Promise.resolve(contentOf(Buffer.from(name))))
      serving.exchange.serve(A, serving.mine)
      await serving.theirs.write(garbage(encodeMessage(bulkRequest, request('0123456789abcdef'))))
      await serving.theirs.end()
      await ended(serving.theirs)

      const asking = setUpRaw()
      const fetching = asking.exchange.fetch(B, request('x', 1000)).then(({ bytes }) => all(bytes))
      const answer = encodeMessage(bulkAnswer, { status: 'ok', size: 10, text: '' })
      const valid = Buffer.concat([answer, Buffer.alloc(10)])
      await asking.theirs.write(garbage(valid)).catch(() => {})
      await asking.theirs.end()
      const outcome = await fetching.catch((error: unknown) => error)
      const isFine = outcome instanceof Buffer && outcome.length <= 1000
      const isRefused = [ProtocolError, UnreachableError, ObjectLostError].some((type) => outcome instanceof type)
      assert.ok(isFine || isRefused, `seed ${seed}, round ${n}: ${String(outcome)}`)
    }
  })

  test('messages that are too long are refused before they are read', async () => {
    const { exchange, mine, theirs } = setUpRaw()
    exchange.serve(A, mine)
    await theirs.write(Buffer.from([1, 16, 0, 0]))
    await assert.rejects(all(theirs.source), /4097 bytes; at most 4096/)
    const asking = setUpRaw()
    const fetching = asking.exchange.fetch(B, request('x'))
    await asking.theirs.write(Buffer.from([255, 255, 255, 255]))
    await assert.rejects(fetching, ProtocolError)
  })

  test('one who goes while it waits gives up its place', async () => {
    const { a, b, lab } = setUp({ stallMs: 100 })
    let asked = 0
    b.onRequest('blob', (_, name) => {
      asked++
      return name === 'ever' ? new Promise(() => {}) : Promise.resolve(contentOf(Buffer.from(name)))
    })
    const waiting = Array.from({ length: 16 }, () => a.fetch(B, request('ever')))
    await until('all are waited for', () => asked === 16)
    for (const stream of lab.streams) stream.abort('gone')
    for (const each of waiting) await assert.rejects(each, UnreachableError)
    assert.equal((await all((await a.fetch(B, request('now'))).bytes)).toString(), 'now')
  })

  test('bytes after a request end it', async () => {
    const { exchange, mine, theirs } = setUpRaw({ stallMs: 30 })
    exchange.onRequest('blob', () => new Promise(() => {}))
    exchange.serve(A, mine)
    await theirs.write(Buffer.concat([encodeMessage(bulkRequest, request('x')), Buffer.from('more')]))
    await assert.rejects(all(theirs.source), /bytes after the request/)
  })
})
