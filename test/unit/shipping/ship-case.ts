import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { ShipWorker } from './ship-worker.ts'

type AnyFunction = (...args: never[]) => unknown

/** A function to ship and its arguments. What it gives on a worker has to be what it gives here. */
export interface ShipCase {
  fn: AnyFunction
  args?: unknown[]
  /** Given when the result here is no measure. */
  expected?: unknown
}

/** Runs every case on one worker process, each as a test. */
export function testShipCases(cases: Record<string, () => ShipCase | Promise<ShipCase>>): void {
  const worker = new ShipWorker()
  after(() => worker.stop())
  for (const [name, make] of Object.entries(cases)) {
    test(name, async () => {
      const { fn, args = [], ...rest } = await make()
      const shipped = await worker.run(fn, ...structuredClone(args))
      const expected = 'expected' in rest ? rest.expected : await drain((fn as (...a: unknown[]) => unknown)(...args))
      assert.deepEqual(shipped, await expected)
    })
  }
}

async function drain(result: unknown): Promise<unknown> {
  const value = await result
  if (typeof value !== 'object' || value === null || !('next' in value)) return value
  const items: unknown[] = []
  for await (const item of value as unknown as AsyncIterable<unknown>) items.push(item)
  return items
}
