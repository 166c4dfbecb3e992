import { SharedSegment } from '../../sdk/store/shared-segment.ts'
import { releaseView } from '../../sdk/store/views.ts'
import { systemMemory } from '../../sdk/system/linux-memory.ts'
import type { BlockPlace } from '../../protocols/store-segment.ts'

/** A value that can be told from any other: each of its bytes follows from its name. */
export function bytesFor(name: string, bytes: number): Uint8Array {
  const seed = Number.parseInt(name.slice(-8), 16)
  const value = new Uint32Array(Math.ceil(bytes / 4))
  for (let i = 0; i < value.length; i++) value[i] = Math.imul(seed + i, 2_654_435_761)
  return new Uint8Array(value.buffer, 0, bytes)
}

export interface KnownValue {
  name: string
  bytes: number
  place: BlockPlace
}

export interface ReadCounts {
  /** Values that were there, and those that were not there any more. */
  right: number
  stale: number
  wrong: number
}

const knownMax = 60
const viewsMax = 4

/**
 * A process that reads values of another one's segment as fast as it can, by places that may have been given to other values
 * long ago, and goes on looking at some of them. Started by `fork` with the path, the size, and a table of pins.
 */
function readOnAndOn(path: string, bytesMax: number, pinTable: number): void {
  const memory = systemMemory()
  const segment = memory && SharedSegment.open(memory, { path, bytesMax, pinTable })
  if (segment === undefined) throw new Error('there is no shared memory here')
  const known: KnownValue[] = []
  const views: { value: KnownValue; view: Uint8Array }[] = []
  const counts: ReadCounts = { right: 0, stale: 0, wrong: 0 }
  const check = ({ name, bytes }: KnownValue, view: Uint8Array): void => {
    if (Buffer.compare(view, bytesFor(name, bytes)) === 0) counts.right += 1
    else counts.wrong += 1
  }
  const readOne = (): void => {
    const value = known[Math.floor(Math.random() * known.length)]
    const here = value && segment.read(value.place, value.name, value.bytes)
    if (value === undefined) return
    if (here === undefined) counts.stale += 1
    else {
      const view = here.own(0, value.bytes)
      check(value, here.shown)
      here.close()
      check(value, view)
      views.push({ value, view })
      // What was looked at for a while must not have changed meanwhile.
      if (views.length > viewsMax) {
        const [old] = views.splice(Math.floor(Math.random() * viewsMax), 1)
        if (old === undefined) return
        check(old.value, old.view)
        // The next view on it shows nothing of this.
        old.view.fill(0)
        releaseView(old.view)
      }
    }
  }
  let isOver = false
  const go = (): void => {
    for (let i = 0; i < 20; i++) readOne()
    if (isOver) process.send?.(counts, () => process.disconnect())
    else setImmediate(go)
  }
  process.on('message', (message: KnownValue | 'stop') => {
    if (message === 'stop') isOver = true
    else known.push(message)
    if (known.length > knownMax) known.shift()
  })
  process.send?.('ready')
  go()
}

const [path, bytesMax, pinTable] = process.argv.slice(2)
if (process.argv[1] === import.meta.filename && path !== undefined)
  readOnAndOn(path, Number(bytesMax), Number(pinTable))
