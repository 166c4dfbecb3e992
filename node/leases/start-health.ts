import type { LeaseBookSettings } from './lease-book-options.ts'

interface Health {
  failures: number
  retryAtMs: number
  reason: string
  /** True while the one start that is let try again is under way. */
  isTrying: boolean
}

/** Whether a worker may be started now. `reason` is how the last one failed. */
export type StartVerdict = { may: 'start' } | { may: 'wait' | 'refuse'; reason: string; failures: number }

/** What is remembered of failures is forgotten after this time without another. */
const forgetMs = 60_000

/**
 * Keeps failing starts from becoming a loop, per runtime environment: a pause that doubles after each failure, and
 * after `startFailuresMax` in a row no start at all for `startRetryMs`; then one is let try. Only the first lease of a
 * new worker wipes the record, since a worker that starts and dies before its first task is no better than one that
 * does not start.
 */
export class StartHealth {
  #settings: LeaseBookSettings
  #byEnvKey = new Map<string, Health>()

  constructor(settings: LeaseBookSettings) {
    this.#settings = settings
  }

  /** True while there is a failure on record. */
  get isTroubled(): boolean {
    return this.#byEnvKey.size > 0
  }

  failed(envKey: string, reason: string, nowMs: number): void {
    const { startFailuresMax, startBackoffMs, startRetryMs } = this.#settings
    const failures = (this.#byEnvKey.get(envKey)?.failures ?? 0) + 1
    const pauseMs = failures < startFailuresMax ? startBackoffMs * 2 ** (failures - 1) : startRetryMs
    this.#byEnvKey.set(envKey, { failures, retryAtMs: nowMs + pauseMs, reason, isTrying: false })
  }

  /** A start was cut short from outside: no failure, but not to be repeated without a pause either. */
  interrupted(envKey: string, reason: string, nowMs: number): void {
    const failures = this.#byEnvKey.get(envKey)?.failures ?? 0
    const retryAtMs = nowMs + this.#settings.startBackoffMs
    this.#byEnvKey.set(envKey, { failures, retryAtMs, reason, isTrying: false })
  }

  started(envKey: string): void {
    const health = this.#byEnvKey.get(envKey)
    if (health !== undefined && health.failures >= this.#settings.startFailuresMax) health.isTrying = true
  }

  ready(envKey: string): void {
    const health = this.#byEnvKey.get(envKey)
    if (health !== undefined) health.isTrying = false
  }

  served(envKey: string): void {
    this.#byEnvKey.delete(envKey)
  }

  verdict(envKey: string, nowMs: number): StartVerdict {
    const health = this.#byEnvKey.get(envKey)
    if (health === undefined) return { may: 'start' }
    const { failures, retryAtMs, reason, isTrying } = health
    if (isTrying) return { may: 'wait', reason, failures }
    if (nowMs >= retryAtMs) return { may: 'start' }
    return { may: failures < this.#settings.startFailuresMax ? 'wait' : 'refuse', reason, failures }
  }

  /** True when a worker may be started that nobody has asked for yet. The one new try is kept for a request. */
  mayPrestart(envKey: string, nowMs: number): boolean {
    const failures = this.#byEnvKey.get(envKey)?.failures ?? 0
    return failures < this.#settings.startFailuresMax && this.verdict(envKey, nowMs).may === 'start'
  }

  forgetOld(nowMs: number): void {
    for (const [envKey, { retryAtMs, isTrying }] of this.#byEnvKey) {
      if (!isTrying && nowMs > retryAtMs + forgetMs) this.#byEnvKey.delete(envKey)
    }
  }
}
