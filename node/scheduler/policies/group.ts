import type { Policy } from './policy.ts'

/** The home of a group knows where its bundles are; no demand for one comes to the head. */
export const group: Policy = {
  why: () => 'it is for a bundle of a placement group',
  cost: () => Infinity,
}
