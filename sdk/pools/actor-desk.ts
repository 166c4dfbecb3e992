import { ActorDiedError, PoolEmptyError, TaskCancelledError, TooManyTasksError } from '../../protocols/errors.ts'
import { limits } from '../../protocols/limits.ts'
import type { ObjectRef } from '../objects/object-ref.ts'
import { TaskQueue } from '../tasks/task-queue.ts'
import type { StartedItem } from './item-run.ts'

/** What the desk needs of its actors and of the objects that their calls make. */
export interface ActorDeskHost<A> {
  readonly get: <R>(ref: ObjectRef<R>) => Promise<R>
  readonly cancel: (ref: ObjectRef) => void
  /** Resolves when the actor has nothing more to do for a call that was cancelled. */
  over(actor: A, ref: ObjectRef): Promise<void>
  /** Keeps the program from ending before the promise has settled. */
  waiting(promise: Promise<void>): Promise<void>
  /** True when it is known that the actor is dead and does not come back. */
  isDead(actor: A): boolean
  /** True when this error says that this very actor is dead. */
  isDeathOf(actor: A, error: ActorDiedError): boolean
  /** How often a call that may have run is made again; -1 for no end. */
  retriesOf(actor: A): number
}

/** A call that is to be made of some actor. */
interface Job<A> {
  readonly call: (actor: A) => ObjectRef<unknown>
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  ref: ObjectRef | undefined
  retries: number
  isCancelled: boolean
}

/**
 * Gives calls to actors, one at a time to each, in the order of the calls. An actor that is dead gets no more; its call goes to
 * another one only when that actor's calls may be made again, since it may have run.
 */
export class ActorDesk<A extends object> {
  readonly #host: ActorDeskHost<A>
  readonly #idle: A[] = []
  readonly #busy = new Set<A>()
  /** Actors that were told to end a call that nobody waits for any more, and have not yet. */
  readonly #ending = new Set<A>()
  readonly #waiting = new TaskQueue<Job<A>>()
  /** Actors that are not ready yet. */
  #comingCount = 0
  #hadActors = false
  /** Why the last actor was left out, for those who find none. */
  #lastDeath: unknown
  /** What calls that end after the desk was closed fail with. */
  #closed: { error: unknown } | undefined
  /** Keeps the program from ending while it is not resolved. */
  #held: PromiseWithResolvers<void> | undefined
  #onIdle: (() => void)[] = []

  constructor(host: ActorDeskHost<A>) {
    this.#host = host
  }

  /** Actors that are in the pool: those that are idle, those that work, and those that are not ready yet. */
  get size(): number {
    return this.#idle.length + this.#busy.size + this.#ending.size + this.#comingCount
  }

  get hasFree(): boolean {
    return this.#idle.length > 0 && this.#waiting.length === 0
  }

  has(actor: A): boolean {
    return this.#busy.has(actor) || this.#ending.has(actor) || this.#idle.includes(actor)
  }

  push(actor: A): void {
    this.#hadActors = true
    this.#idle.push(actor)
    this.#give()
  }

  /** An actor that is to be in the pool when it is ready: what waits waits for it, too. */
  async expect(actor: A, ready: Promise<unknown>): Promise<void> {
    this.#hadActors = true
    this.#comingCount += 1
    try {
      await ready
      if (this.#closed === undefined) this.#idle.push(actor)
    } catch (error) {
      this.#lastDeath = error
    }
    this.#comingCount -= 1
    this.#give()
  }

  /** Takes an actor that does nothing out of the pool. */
  popIdle(): A | undefined {
    return this.#waiting.length > 0 ? undefined : this.#idle.shift()
  }

  /** Throws TooManyTasksError when too many wait. */
  submit<R>(call: (actor: A) => ObjectRef<R>): StartedItem<R> {
    if (this.#waiting.length >= limits.tasksPendingMax) {
      throw new TooManyTasksError(
        `${limits.tasksPendingMax} calls wait for an actor of the pool, which is the most that is possible: take some results first`,
        { tasksPendingMax: limits.tasksPendingMax },
      )
    }
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const job: Job<A> = { call, resolve, reject, ref: undefined, retries: 0, isCancelled: false }
    this.#waiting.push(job)
    this.#give()
    return { result: promise as Promise<R>, cancel: () => this.#cancel(job) }
  }

  /** Resolves when nothing waits and no actor works, but for what was cancelled. */
  async idle(): Promise<void> {
    while (this.#busy.size > 0 || this.#waiting.length > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#onIdle.push(resolve)
      await promise
    }
  }

  /** Fails what waits, and lets go of all actors. */
  close(error: unknown): void {
    this.#closed ??= { error }
    this.#idle.length = 0
    this.#busy.clear()
    this.#ending.clear()
    for (const job of this.#waiting.drain()) job.reject(error)
    this.#tellIdle()
  }

  #cancel(job: Job<A>): void {
    if (job.isCancelled) return
    job.isCancelled = true
    if (this.#waiting.remove(job)) {
      job.reject(new TaskCancelledError('the call was cancelled before an actor was free for it'))
      this.#tellIdle()
    } else if (job.ref !== undefined) this.#host.cancel(job.ref)
  }

  #give(): void {
    while (this.#waiting.length > 0) {
      const actor = this.#idle.shift()
      if (actor === undefined) break
      if (this.#host.isDead(actor)) continue
      this.#begin(actor, this.#waiting.shift() as Job<A>)
    }
    if (this.size === 0) for (const job of this.#waiting.drain()) job.reject(this.#emptyError())
    this.#tellIdle()
  }

  #begin(actor: A, job: Job<A>): void {
    this.#busy.add(actor)
    try {
      job.ref = job.call(actor)
    } catch (error) {
      this.#free(actor)
      job.reject(error)
      return
    }
    this.#host.get(job.ref).then(
      (value) => {
        this.#free(actor)
        job.resolve(value)
        this.#give()
      },
      (error: unknown) => {
        this.#failed(actor, job, error)
        this.#give()
      },
    )
  }

  #free(actor: A): void {
    // Not when the pool was closed meanwhile.
    if (this.#busy.delete(actor)) this.#idle.push(actor)
  }

  async #freeWhenOver(actor: A, ref: ObjectRef): Promise<void> {
    if (!this.#busy.delete(actor)) return
    this.#ending.add(actor)
    await this.#host.over(actor, ref)
    if (!this.#ending.delete(actor)) return
    this.#idle.push(actor)
    this.#give()
  }

  #failed(actor: A, job: Job<A>, error: unknown): void {
    const { ref } = job
    job.ref = undefined
    if (!(error instanceof ActorDiedError) || !this.#host.isDeathOf(actor, error)) {
      if (error instanceof TaskCancelledError && ref !== undefined) void this.#freeWhenOver(actor, ref)
      else this.#free(actor)
      job.reject(error)
      return
    }
    this.#busy.delete(actor)
    this.#lastDeath = error
    const retries = this.#host.retriesOf(actor)
    if (this.#closed !== undefined || job.isCancelled || (retries >= 0 && job.retries >= retries)) {
      job.reject(this.#closed === undefined ? error : this.#closed.error)
      return
    }
    job.retries += 1
    this.#waiting.unshift([job])
  }

  #emptyError(): PoolEmptyError {
    const why = this.#hadActors ? 'all are dead, or were taken out' : 'none was put into it'
    return new PoolEmptyError(
      `no actor is left in the pool: ${why}; push() another one`,
      this.#lastDeath === undefined ? {} : { cause: this.#lastDeath },
    )
  }

  /** What waits for nothing but the ends of cancelled calls waits all the same. */
  #holdWaiting(): void {
    const isHeld = this.#waiting.length > 0 && this.#busy.size === 0 && this.#ending.size > 0
    if (!isHeld) {
      this.#held?.resolve()
      this.#held = undefined
    } else if (this.#held === undefined) {
      this.#held = Promise.withResolvers<void>()
      this.#host.waiting(this.#held.promise).catch(() => undefined)
    }
  }

  #tellIdle(): void {
    this.#holdWaiting()
    if (this.#onIdle.length === 0 || this.#busy.size > 0 || this.#waiting.length > 0) return
    for (const resolve of this.#onIdle.splice(0)) resolve()
  }
}
