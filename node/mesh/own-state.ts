import { gpuNameBytesMax, type Advert, type GpuAdvert } from '../../protocols/advert.ts'
import { mayOffer, type MemberRole } from '../../protocols/membership.ts'
import type { Labels } from '../../protocols/scheduling.ts'
import { shoalVersion } from '../../protocols/version.ts'
import type { LeaseBook } from '../leases/lease-book.ts'
import type { NodeGpu, NodeResources } from '../resources/detect.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { AdvertSource, type DueAdvert, type Others, type OwnAdvert } from '../view/advert-source.ts'
import { loadPerCore } from '../view/load.ts'

export interface OwnStateSources {
  node: string
  name: string
  role: MemberRole
  labels: Labels
  startedAtMs: number
  machine: NodeResources
  book: LeaseBook
  store: ObjectStore
  now(): number
  addresses(): readonly string[]
  others(): Others
}

/** Changes are looked for soon after something has happened, and now and then when nothing has. */
const soonMs = 20
const restLookMs = 1000

/** What this node says of itself, to all when something has changed, and to one when it is asked. */
export class OwnState {
  readonly #from: OwnStateSources
  readonly #source: AdvertSource
  #timer: NodeJS.Timeout | undefined
  #nextLookMs = 0
  #isClosed = false
  onPublish: (due: DueAdvert) => void = () => {}

  constructor(sources: OwnStateSources) {
    this.#from = sources
    this.#source = new AdvertSource(sources.startedAtMs)
  }

  open(): void {
    this.#lookIn(0)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  /** Something has happened that may have changed the state. */
  touch(): void {
    if (this.#nextLookMs > this.#from.now() + soonMs) this.#lookIn(soonMs)
  }

  /** Somebody new may not know how this node stands. */
  tellAgain(): void {
    this.#source.tellAgain()
    this.touch()
  }

  /** The state for one who asks. */
  state(): Advert {
    return this.#source.next(this.#now())
  }

  #lookIn(delayMs: number): void {
    if (this.#isClosed) return
    clearTimeout(this.#timer)
    this.#nextLookMs = this.#from.now() + delayMs
    this.#timer = setTimeout(() => this.#look(), delayMs)
  }

  #look(): void {
    const { now, others } = this.#from
    const due = this.#source.offer(this.#now(), now(), others())
    if (due !== undefined) this.onPublish(due)
    this.#lookIn(Math.min(restLookMs, Math.max(soonMs, this.#source.dueInMs)))
  }

  #now(): OwnAdvert {
    const { node, name, role, labels, startedAtMs, machine, book, store, addresses } = this.#from
    return {
      node,
      name,
      shoalVersion,
      role,
      startedAtMs,
      addresses: addresses().slice(0, 16),
      ...book.load(),
      gpus: gpuAdverts(machine, book),
      labels,
      load: loadPerCore(),
      store: { usedBytes: store.usedBytes, bytesMax: store.bytesMax },
      isOpen: mayOffer(role) && !book.isClosed,
    }
  }
}

/** The devices of this node, and how much of each is free. */
export function gpuAdverts({ gpus }: NodeResources, book: Pick<LeaseBook, 'gpusFree'>): GpuAdvert[] {
  const free = book.gpusFree()
  return gpus.map((gpu) => gpuAdvert(gpu, free.get(gpu.index)))
}

function gpuAdvert({ name, type, memoryBytes }: NodeGpu, free = 1): GpuAdvert {
  return {
    ...(name === undefined ? {} : { name: name.replaceAll(/[^ -~]/g, '?').slice(0, gpuNameBytesMax) }),
    ...(type === undefined ? {} : { type }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(free === 1 ? {} : { free }),
  }
}
