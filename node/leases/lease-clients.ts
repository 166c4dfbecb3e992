import type { Lease, LeaseRequest } from './lease-records.ts'

interface ClientRecord {
  /** Those without an answer, by the client's number. */
  requests: Map<number, LeaseRequest>
  leases: Map<number, Lease>
}

const noRecord: Readonly<ClientRecord> = { requests: new Map(), leases: new Map() }

/** Which open requests and which leases belong to whom. A client with neither is not kept. */
export class LeaseClients {
  #byClient = new Map<string, ClientRecord>()

  request(client: string, requestId: number): LeaseRequest | undefined {
    return this.#byClient.get(client)?.requests.get(requestId)
  }

  requests(client: string): LeaseRequest[] {
    return [...(this.#byClient.get(client) ?? noRecord).requests.values()]
  }

  /** The client's leases, the oldest first. */
  leases(client: string): Lease[] {
    return [...(this.#byClient.get(client) ?? noRecord).leases.values()]
  }

  addRequest(request: LeaseRequest): void {
    this.#record(request.client).requests.set(request.requestId, request)
  }

  removeRequest(request: LeaseRequest): void {
    this.#byClient.get(request.client)?.requests.delete(request.requestId)
    this.#forgetIfEmpty(request.client)
  }

  addLease(lease: Lease): void {
    this.#record(lease.client).leases.set(lease.leaseId, lease)
  }

  removeLease(lease: Lease): void {
    this.#byClient.get(lease.client)?.leases.delete(lease.leaseId)
    this.#forgetIfEmpty(lease.client)
  }

  #record(client: string): ClientRecord {
    let record = this.#byClient.get(client)
    if (record === undefined) this.#byClient.set(client, (record = { requests: new Map(), leases: new Map() }))
    return record
  }

  #forgetIfEmpty(client: string): void {
    const record = this.#byClient.get(client)
    if (record?.requests.size === 0 && record.leases.size === 0) this.#byClient.delete(client)
  }
}
