const againAfterMs = 60_000
const keptMax = 1000

/** Notes of who was refused: once a minute for each, however often they come. */
export class RefusalLog {
  readonly #log: (text: string) => void
  readonly #saidAtMs = new Map<string, number>()

  constructor(log: (text: string) => void) {
    this.#log = log
  }

  say(who: string, text: string): void {
    const nowMs = performance.now()
    const saidAtMs = this.#saidAtMs.get(who)
    if (saidAtMs !== undefined && nowMs - saidAtMs < againAfterMs) return
    this.#saidAtMs.delete(who)
    if (this.#saidAtMs.size >= keptMax) this.#saidAtMs.delete([...this.#saidAtMs.keys()][0] ?? '')
    this.#saidAtMs.set(who, nowMs)
    this.#log(text)
  }
}
