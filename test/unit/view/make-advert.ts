import type { Advert } from '../../../protocols/advert.ts'

/** The id of the n-th node. */
export function nodeId(n: number): string {
  return n.toString(16).padStart(16, '0')
}

/** An advert with every field filled in. */
export function makeAdvert(changes: Partial<Advert> = {}): Advert {
  return {
    node: nodeId(1),
    version: 1,
    name: 'desk',
    shoalVersion: '0.1.0',
    role: 'admin',
    startedAtMs: 1_000,
    addresses: ['/ip4/192.168.1.7/tcp/7461'],
    total: { CPU: 4, memory: 8e9 },
    available: { CPU: 2.5, memory: 8e9 },
    gpus: [{ name: 'A100', memoryBytes: 40e9 }, {}],
    labels: { zone: 'lab1' },
    load: 0.5,
    workers: 4,
    leases: 2,
    queued: 1,
    store: { usedBytes: 10, bytesMax: 1e9 },
    isOpen: true,
    ...changes,
  }
}
