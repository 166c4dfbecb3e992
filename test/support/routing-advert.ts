import type { Advert } from '../../protocols/advert.ts'

/** What a node says of itself, with all that does not matter for where its work goes. */
export function simulatedAdvert(
  fields: Pick<Advert, 'node' | 'version' | 'total' | 'available'> & Partial<Advert>,
): Advert {
  return {
    name: fields.node,
    shoalVersion: '1',
    role: 'admin',
    startedAtMs: 1,
    addresses: [],
    gpus: [],
    labels: {},
    load: 0,
    workers: 0,
    leases: 0,
    queued: 0,
    store: { usedBytes: 0, bytesMax: 0 },
    isOpen: true,
    ...fields,
  }
}
