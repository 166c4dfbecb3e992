import type { ClientId } from './ids.ts'

/** A worker that an actor has. */
export interface ActorPlace {
  readonly leaseId: number
  readonly worker: ClientId
  readonly workerPid: number
}

/** Why an actor is dead. */
export interface ActorDeath {
  readonly reason: string
  /** What its constructor has thrown, or why it got no worker: as the host has it. */
  readonly error: unknown
  readonly atMs: number
  /** The worker that it had last; undefined when it never had one. */
  readonly place: ActorPlace | undefined
}

export type LifecycleEvent =
  | { type: 'create' }
  | { type: 'granted'; place: ActorPlace }
  /** There is no worker for it. `mayPass`: trying again later can help. */
  | { type: 'refused'; reason: string; error: unknown; mayPass: boolean }
  /** Its constructor has run. */
  | { type: 'started'; leaseId: number }
  | { type: 'startFailed'; leaseId: number; reason: string; error: unknown }
  /** Its worker is gone. */
  | { type: 'lost'; leaseId: number; reason: string }
  | { type: 'kill'; reason: string; mayRestart: boolean }
  /** It is to end when it has done what it was asked for. */
  | { type: 'release'; reason: string }
  /** It has ended in good order. */
  | { type: 'ended'; leaseId: number; reason: string }
  /** The time asked for with `wake` has come. */
  | { type: 'woken' }

export type LifecycleAction =
  | { type: 'requestLease' }
  | { type: 'cancelRequest' }
  /** The worker is to run the constructor. */
  | { type: 'start'; place: ActorPlace }
  /** The worker is to do what it was asked for, and to say when it has. */
  | { type: 'end'; leaseId: number }
  | { type: 'killLease'; leaseId: number; reason: string }
  | { type: 'returnLease'; leaseId: number }
  | { type: 'wake'; afterMs: number }
  /** Whoever watches it is to be told. */
  | { type: 'changed' }

const backOffMs = 100
const backOffMsMax = 5000
/** Starts without a worker for it, after which it is given up. */
const refusalsMax = 8
/** How long it may take to do what it was asked for, once nobody holds it any more, and its exit hooks. */
const endMsMax = 30_000

/**
 * The life of one actor, as its owner leads it: from the request for a worker, over restarts, to its end. Pure: it is told
 * what happens, and answers with what is to be done. News of leases that it does not have (late, or twice) changes nothing.
 */
export class ActorLifecycle {
  state: 'new' | 'pending' | 'starting' | 'alive' | 'restarting' | 'ending' | 'dead' = 'new'
  place: ActorPlace | undefined
  death: ActorDeath | undefined
  /** How often it was started anew. */
  incarnation = 0
  /** Those that are left; -1 for no end. */
  restartsLeft: number
  #wantsLease = false
  #isReleased = ''
  /** Starts in a row that came to nothing. */
  #failures = 0
  #refusals = 0
  #actions: LifecycleAction[] = []

  constructor(restartsMax: number) {
    this.restartsLeft = restartsMax
  }

  /** What others need to know of its state. */
  get publicState(): 'pending' | 'alive' | 'restarting' | 'dead' {
    if (this.state === 'alive' || this.state === 'ending') return 'alive'
    if (this.state === 'dead') return 'dead'
    return this.incarnation > 0 ? 'restarting' : 'pending'
  }

  step(event: LifecycleEvent, nowMs: number): LifecycleAction[] {
    this.#actions = []
    this.#on(event, nowMs)
    return this.#actions
  }

  #on(event: LifecycleEvent, nowMs: number): void {
    switch (event.type) {
      case 'create':
        if (this.state === 'new') this.#request('pending')
        return
      case 'granted':
        return this.#onGranted(event.place)
      case 'refused':
        return this.#onRefused(event, nowMs)
      case 'started':
        if (this.state !== 'starting' || this.place?.leaseId !== event.leaseId) return
        this.state = 'alive'
        this.#failures = 0
        this.#do({ type: 'changed' })
        if (this.#isReleased !== '') this.#end()
        return
      case 'startFailed':
        if (this.state !== 'starting' || this.place?.leaseId !== event.leaseId) return
        this.#do({ type: 'killLease', leaseId: event.leaseId, reason: 'the constructor of its actor has failed' })
        this.#die(event.reason, event.error, nowMs)
        return
      case 'lost':
        if (this.place?.leaseId === event.leaseId && this.state !== 'dead') this.#onLost(event.reason, nowMs)
        return
      case 'kill':
        return this.#onKill(event, nowMs)
      case 'release':
        return this.#onRelease(event.reason, nowMs)
      case 'ended':
        if (this.place?.leaseId !== event.leaseId || this.state === 'dead') return
        // Its process has the actor's state, and perhaps what that has left running.
        this.#do({ type: 'killLease', leaseId: event.leaseId, reason: 'its actor has ended' })
        this.#die(event.reason, undefined, nowMs)
        return
      case 'woken':
        return this.#onWoken(nowMs)
    }
  }

  #onGranted(place: ActorPlace): void {
    if (!this.#wantsLease) {
      this.#do({ type: 'returnLease', leaseId: place.leaseId })
      return
    }
    this.#wantsLease = false
    this.#refusals = 0
    this.place = place
    this.state = 'starting'
    this.#do({ type: 'start', place })
  }

  #onRefused({ reason, error, mayPass }: Extract<LifecycleEvent, { type: 'refused' }>, nowMs: number): void {
    if (!this.#wantsLease) return
    this.#wantsLease = false
    // A new actor's creator hears of it at once; one that has lived is worth waiting for.
    const triesAgain = mayPass && this.incarnation > 0 && ++this.#refusals < refusalsMax
    if (triesAgain) this.#do({ type: 'wake', afterMs: Math.min(backOffMsMax, backOffMs * 2 ** this.#refusals) })
    else this.#die(reason, error, nowMs)
  }

  #onLost(reason: string, nowMs: number): void {
    const hadStarted = this.state === 'alive'
    if (this.state === 'ending') {
      this.#die(this.#isReleased, undefined, nowMs)
      return
    }
    if (this.restartsLeft === 0) {
      this.#die(reason, undefined, nowMs)
      return
    }
    if (this.restartsLeft > 0) this.restartsLeft -= 1
    this.incarnation += 1
    if (this.#isReleased !== '') {
      this.#die(this.#isReleased, undefined, nowMs)
      return
    }
    this.place = undefined
    // One whose constructor ends its worker again and again must not do so all the time.
    this.#failures = hadStarted ? 0 : this.#failures + 1
    if (this.#failures <= 1) this.#request('restarting')
    else {
      this.state = 'restarting'
      this.#do({ type: 'changed' })
      this.#do({ type: 'wake', afterMs: Math.min(backOffMsMax, backOffMs * 2 ** (this.#failures - 1)) })
    }
  }

  #onKill({ reason, mayRestart }: Extract<LifecycleEvent, { type: 'kill' }>, nowMs: number): void {
    if (this.state === 'dead') return
    if (mayRestart && (this.state === 'alive' || this.state === 'starting')) {
      // What follows is as when its worker dies by itself.
      const leaseId = (this.place as ActorPlace).leaseId
      this.#do({ type: 'killLease', leaseId, reason })
      this.#onLost(reason, nowMs)
      return
    }
    if (mayRestart) return
    this.#letGo(reason)
    this.#die(reason, undefined, nowMs)
  }

  #onRelease(reason: string, nowMs: number): void {
    if (this.state === 'dead' || this.state === 'ending') return
    this.#isReleased = reason
    if (this.state === 'alive') this.#end()
    // One that is starting has perhaps been asked for something already.
    else if (this.state !== 'starting') {
      this.#letGo(reason)
      this.#die(reason, undefined, nowMs)
    }
  }

  #onWoken(nowMs: number): void {
    if (this.state === 'restarting' && !this.#wantsLease) this.#request('restarting')
    else if (this.state === 'ending') {
      this.#letGo(`it did not end within ${endMsMax} ms`)
      this.#die(this.#isReleased, undefined, nowMs)
    }
  }

  #request(state: 'pending' | 'restarting'): void {
    this.state = state
    this.#wantsLease = true
    this.#do({ type: 'requestLease' })
    this.#do({ type: 'changed' })
  }

  #end(): void {
    this.state = 'ending'
    this.#do({ type: 'end', leaseId: (this.place as ActorPlace).leaseId })
    this.#do({ type: 'wake', afterMs: endMsMax })
  }

  /** Gives up the worker, or the request for one. */
  #letGo(reason: string): void {
    if (this.#wantsLease) this.#do({ type: 'cancelRequest' })
    this.#wantsLease = false
    const holdsLease = this.state === 'starting' || this.state === 'alive' || this.state === 'ending'
    if (holdsLease) this.#do({ type: 'killLease', leaseId: (this.place as ActorPlace).leaseId, reason })
  }

  #die(reason: string, error: unknown, nowMs: number): void {
    this.state = 'dead'
    this.death = { reason, error, atMs: nowMs, place: this.place }
    this.#do({ type: 'changed' })
  }

  #do(action: LifecycleAction): void {
    this.#actions.push(action)
  }
}
