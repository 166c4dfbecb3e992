import os from 'node:os'
import type { Advert } from '../../protocols/advert.ts'
import type { MemberRole } from '../../protocols/membership.ts'
import type { Labels } from '../../protocols/scheduling.ts'
import { shoalVersion } from '../../protocols/version.ts'
import type { LeaseBook } from '../leases/lease-book.ts'
import type { NodeResources } from '../resources/detect.ts'
import type { StoredFiles } from '../store/stored-files.ts'

export interface OwnStateSources {
  node: string
  name: string
  role: MemberRole
  labels: Labels
  startedAtMs: number
  machine: NodeResources
  book: LeaseBook
  files: StoredFiles
  storeBytesMax: number
  addresses(): readonly string[]
}

/** Changes are told at most so often; what has not changed, so often nevertheless. */
const changeMs = 100
const restMs = 5000
const lookMs = 50

/** What this node says of itself, and when: soon after a change, and every few seconds at rest. */
export class OwnState {
  readonly #from: OwnStateSources
  readonly #cores = os.availableParallelism()
  #version: number
  #timer: NodeJS.Timeout | undefined
  #last = ''
  #toldAtMs = Number.NEGATIVE_INFINITY
  /** Nodes in the mesh: the more there are, the less each says at rest. */
  meshSize = 1
  onPublish: (state: Advert) => void = () => {}

  constructor(sources: OwnStateSources) {
    this.#from = sources
    this.#version = sources.startedAtMs
  }

  open(): void {
    this.#timer = setInterval(() => this.#look(), lookMs)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** Something that others should know has changed. */
  changed(): void {
    this.#last = ''
  }

  state(): Advert {
    const { node, name, role, labels, startedAtMs, machine, book, files, storeBytesMax, addresses } = this.#from
    const { total, available, workers, leases, queued } = book.load()
    return {
      node,
      version: ++this.#version,
      name,
      shoalVersion,
      role,
      startedAtMs,
      addresses: addresses().slice(0, 16),
      total,
      available,
      gpus: machine.gpus.map((gpu) => ({ name: gpu.name ?? '', memoryBytes: gpu.memoryBytes ?? 0 })),
      labels,
      load: (os.loadavg()[0] ?? 0) / this.#cores,
      workers,
      leases,
      queued,
      store: { usedBytes: files.usedBytes, bytesMax: storeBytesMax },
      isOpen: role !== 'submitter',
    }
  }

  #look(): void {
    const nowMs = performance.now()
    const sinceMs = nowMs - this.#toldAtMs
    if (sinceMs < changeMs) return
    const { total, available, leases, queued } = this.#from.book.load()
    const fingerprint = JSON.stringify([total, available, leases, queued])
    const isRest = sinceMs >= (restMs * Math.max(30, this.meshSize)) / 30
    if (fingerprint === this.#last && !isRest) return
    this.#last = fingerprint
    this.#toldAtMs = nowMs
    this.onPublish(this.state())
  }
}
