import { randomUUID } from 'node:crypto'
import {
  InvalidArgumentError,
  QueueClosedError,
  QueueEmptyError,
  QueueFullError,
  type ShoalError,
} from '../../protocols/errors.ts'
import { plural } from '../../protocols/plural.ts'
import type { ActorHandle } from '../actors/actor-handle.ts'
import type { ActorOptions } from '../actors/actor-options.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import { QueueActor, type QueueState } from '../pools/queue-actor.ts'
import { settledWithin } from '../pools/settled-within.ts'
import { registerClass } from '../shipping/class-registry.ts'
import { kill } from './actors.ts'
import { remote } from './remote-function.ts'
import { checkOptions, invalid, oneOrMore, show } from './task-options.ts'
import { get, getChecks, type GetOptions } from './values.ts'

export interface QueueOptions {
  /** Items that it takes; a put waits while there are so many. 0 for no limit. @default 0 */
  maxSize?: number
  /** Where its actor runs, and what it needs. @default a worker of its own, that holds no CPU */
  actorOptions?: Omit<ActorOptions, 'maxConcurrency' | 'concurrencyGroups' | 'maxPendingCalls'>
}

const queueChecks = {
  maxSize: (value: unknown, name: string) => {
    if (!Number.isInteger(value) || (value as number) < 0) throw invalid(name, value, 'a whole number, 0 or more')
  },
  actorOptions: (value: unknown, name: string) => {
    if (typeof value !== 'object' || value === null) throw invalid(name, value, 'an object')
  },
}

/** Puts and gets that may wait at a time. */
const waitersMax = 100_000

/**
 * A queue that any process can put into and get from: it lives in an actor, and a Queue that is passed to a task, or closed over,
 * is the same queue there. First in, first out. It ends when nobody holds it any more.
 *
 * @example
 * const queue = new Queue<number>({ maxSize: 10 })
 * const produce = remote(async (to: Queue<number>) => {
 *   for (let i = 0; i < 3; i++) await to.put(i)
 *   await to.close()
 * })
 * const done = produce.remote(queue)
 * for await (const i of queue) console.log(i) // 0, 1, 2
 * await get(done)
 */
export class Queue<T = unknown> implements AsyncIterable<T> {
  /** The actor that it lives in. */
  readonly actor: ActorHandle<typeof QueueActor>
  /** Only in the type system: what is in it. */
  declare protected readonly itemType: (item: T) => T

  /** Throws InvalidArgumentError for a wrong option. */
  constructor(options: QueueOptions = {}) {
    checkOptions(options, queueChecks, 'Queue')
    const { maxSize = 0, actorOptions = {} } = options
    this.actor = remote(QueueActor, { ...actorOptions, maxConcurrency: waitersMax }).remote(maxSize)
  }

  /**
   * Puts an item at the end, as soon as there is room for it.
   *
   * Rejects with QueueFullError when there is none in time, the signal's reason, QueueClosedError after `close()`. An abort that
   * comes too late changes nothing.
   */
  put(item: T, options: GetOptions = {}): Promise<void> {
    return putAll(this.actor, [item], options)
  }

  /**
   * Takes the first item, as soon as there is one.
   *
   * Rejects with QueueEmptyError when there is none in time, the signal's reason, QueueClosedError when the queue is closed and
   * nothing is left. An item is never lost by an abort: one that comes too late changes nothing.
   */
  async get(options: GetOptions = {}): Promise<T> {
    const [item] = await getSome<T>(this.actor, 1, options)
    return item as T
  }

  /** Puts an item at the end. Rejects with QueueFullError when there is no room for it now. */
  putNowait(item: T): Promise<void> {
    return putNow(this.actor, [item])
  }

  /** Takes the first item. Rejects with QueueEmptyError when there is none now. */
  async getNowait(): Promise<T> {
    const [item] = await this.getNowaitBatch(1)
    return item as T
  }

  /**
   * Puts many items in their order, each as soon as there is room for it. When that ends early, `details.count` of the
   * QueueFullError or QueueClosedError says how many of them are in the queue.
   */
  putBatch(items: readonly T[], options: GetOptions = {}): Promise<void> {
    return putAll(this.actor, items, options)
  }

  /** Waits for one item, and takes as many as there are then, up to `countMax`. Rejects as `get` does. */
  getBatch(countMax: number, options: GetOptions = {}): Promise<T[]> {
    oneOrMore(countMax, 'getBatch(): countMax')
    return getSome<T>(this.actor, countMax, options)
  }

  /** Puts all of them, or rejects with QueueFullError when there is no room for all now. */
  putNowaitBatch(items: readonly T[]): Promise<void> {
    return putNow(this.actor, items)
  }

  /** Takes so many items, or rejects with QueueEmptyError when there are fewer now. */
  async getNowaitBatch(count: number): Promise<T[]> {
    oneOrMore(count, 'getNowaitBatch(): count')
    const { items, state, size } = await get(this.actor.getNow.remote(count))
    if (state === 'closed') throw closed()
    if (state === 'empty') {
      throw new QueueEmptyError(
        `the queue has ${plural(size, 'item')}, and ${count} ${count === 1 ? 'was' : 'were'} asked for`,
        { size, count },
      )
    }
    return items as T[]
  }

  /** How many items are in it. Others may put and get meanwhile. */
  size(): Promise<number> {
    return get(this.actor.size.remote())
  }

  /** True when nothing is in it. */
  async empty(): Promise<boolean> {
    return (await this.size()) === 0
  }

  /** True when there is no room for another item. */
  async full(): Promise<boolean> {
    const [size, sizeMax] = await get([this.actor.size.remote(), this.actor.sizeMax.remote()])
    return sizeMax > 0 && size >= sizeMax
  }

  /** No more is put into it: whoever gets is given what is left, and then a QueueClosedError, by which loops end. */
  async close(): Promise<void> {
    await get(this.actor.close.remote())
  }

  /** Ends the queue at once: what is in it is lost, and whoever waits gets ActorDiedError. */
  shutdown(): void {
    kill(this.actor)
  }

  /** Takes items until the queue is closed and empty. Several loops, in any process, share them. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, undefined> {
    for (;;) {
      let item: T
      try {
        item = await this.get()
      } catch (error) {
        if (error instanceof QueueClosedError) return undefined
        throw error
      }
      yield item
    }
  }
}

// By this name a Queue travels: it is the same class in every process.
registerClass('shoal:Queue', Queue)

type QueueHandle = Queue['actor']

async function putAll(actor: QueueHandle, items: readonly unknown[], options: GetOptions): Promise<void> {
  checkOptions(options, getChecks, 'Queue.put()')
  checkItems(items)
  if (items.length === 0) return
  const { state, count } = await patiently(actor, options, (token) => actor.put.remote(items, token))
  if (state === 'ok') return
  options.signal?.throwIfAborted()
  throw state === 'closed'
    ? closed({ count })
    : new QueueFullError(`the queue had no room within ${options.timeoutMs} ms`, {
        timeoutMs: options.timeoutMs,
        count,
      })
}

async function putNow(actor: QueueHandle, items: readonly unknown[]): Promise<void> {
  checkItems(items)
  const { state, size } = await get(actor.putNow.remote(items))
  if (state === 'closed') throw closed()
  if (state === 'full') {
    throw new QueueFullError(`the queue has ${plural(size, 'item')} and no room for ${items.length} more`, {
      size,
      count: items.length,
    })
  }
}

async function getSome<T>(actor: QueueHandle, countMax: number, options: GetOptions): Promise<T[]> {
  checkOptions(options, getChecks, 'Queue.get()')
  const { items, state } = await patiently(actor, options, (token) => actor.get.remote(countMax, token))
  if (state === 'ok') return items as T[]
  options.signal?.throwIfAborted()
  throw state === 'closed'
    ? closed()
    : new QueueEmptyError(`nothing was in the queue within ${options.timeoutMs} ms`, { timeoutMs: options.timeoutMs })
}

/** Waits for a call of the actor. When the time is up, or the signal aborts, it is withdrawn, and gives what it has come to. */
async function patiently<A extends { state: QueueState }>(
  actor: QueueHandle,
  options: GetOptions,
  call: (token: string) => ObjectRef<A>,
): Promise<A> {
  const { timeoutMs, signal } = options
  signal?.throwIfAborted()
  if (timeoutMs === undefined && signal === undefined) return get(call(''))
  const token = randomUUID()
  const answer = get(call(token))
  try {
    await settledWithin(answer, options, () => new QueueEmptyError('the time is up'))
  } catch {
    actor.withdraw.remote(token)
  }
  return answer
}

function closed(details: Record<string, unknown> = {}): ShoalError {
  return new QueueClosedError('the queue was closed by close()', details)
}

function checkItems(items: unknown): void {
  if (Array.isArray(items)) return
  throw new InvalidArgumentError(`a batch of items is an array; got ${show(items)}`)
}
