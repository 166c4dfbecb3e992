import { functionHere } from './call-here.ts'
import type { Shipped } from './pool-worker.ts'

declare const skipBrand: unique symbol
/** The type of {@link skip}: one of its own, since that of a symbol is widened where a function returns it. */
export interface Skip {
  readonly [skipBrand]: true
}

/** What a mapper returns for an item that is to have no result. */
export const skip = Symbol.for('shoal.parallelMap.skip') as unknown as Skip

/** Runs a mapper for one item, as a task. A list, so that no result is something else than undefined. */
export async function mapItem(mapper: Shipped, item: unknown, index: number): Promise<readonly unknown[]> {
  const here = (await functionHere(mapper)) as (item: unknown, index: number) => unknown
  const result = await here(item, index)
  return result === skip ? [] : [result]
}
