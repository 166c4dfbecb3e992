/** How many workers each job holds that do not wait in `get()`, those that are being started for it included. */
export class JobShares {
  #byJob = new Map<string, number>()

  of(job: string): number {
    return this.#byJob.get(job) ?? 0
  }

  add(job: string, change: number): void {
    const share = this.of(job) + change
    if (share === 0) this.#byJob.delete(job)
    else this.#byJob.set(job, share)
  }
}
