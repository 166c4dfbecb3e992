import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { TypedEventEmitter, type Stream } from '@libp2p/interface'
import { Libp2pBulkStream } from '../../../node/network/libp2p-streams.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

interface Events {
  message: Event
  end: Event
  close: Event
}

/** A stream of libp2p, as far as a reader sees it. */
class FakeStream extends TypedEventEmitter<Events> {
  readonly status = 'open'
  readStatus = 'readable'

  pause(): void {
    this.readStatus = 'paused'
  }

  resume(): void {
    this.readStatus = 'readable'
  }

  get listeners(): number {
    return this.listenerCount('message') + this.listenerCount('end') + this.listenerCount('close')
  }

  come(text: string): void {
    this.dispatchEvent(Object.assign(new Event('message'), { data: Buffer.from(text) }))
  }

  end(): void {
    this.dispatchEvent(new Event('end'))
  }
}

function open(): { fake: FakeStream; reader: AsyncIterator<Uint8Array> } {
  const fake = new FakeStream()
  const stream = new Libp2pBulkStream(fake as unknown as Stream)
  return { fake, reader: stream.source[Symbol.asyncIterator]() }
}

describe('a stream for bulk', () => {
  test('gives what comes, and listens no more at its end', async () => {
    const { fake, reader } = open()
    const first = reader.next()
    assert.equal(fake.listeners, 3)
    fake.come('one')
    fake.come('two')
    fake.end()
    assert.equal(Buffer.from((await first).value as Uint8Array).toString(), 'one')
    assert.equal(Buffer.from((await reader.next()).value as Uint8Array).toString(), 'two')
    assert.equal((await reader.next()).done, true)
    assert.equal(fake.listeners, 0)
  })

  test('is garbage when its reader has stopped in the middle', async () => {
    const leaveBehind = async (): Promise<WeakRef<FakeStream>> => {
      const { fake, reader } = open()
      const first = reader.next()
      fake.come('one')
      await first
      fake.end()
      return new WeakRef(fake)
    }
    const streams = await Promise.all(Array.from({ length: 5 }, () => leaveBehind()))
    // What was looked at in this turn stays until its end.
    await turn()
    collect()
    await turn()
    collect()
    assert.deepEqual(
      streams.map((stream) => stream.deref()),
      Array(5).fill(undefined),
    )
  })
})
