import type { ClientId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { LeaseTerms } from './lease-terms.ts'

/** For whom a worker is wanted. */
interface LeaseFor {
  readonly label: string
  readonly job: ClientId
  readonly depth: number
  readonly isActor: boolean
}

/** The request for a worker with such terms. An actor is started again by its owner, so its worker is none to end first. */
export function leaseRequest(requestId: number, terms: LeaseTerms, wanted: LeaseFor): MessageBody<'leaseRequest'> {
  const { resources, strategy, envVars, envKey, isRetriable } = terms
  return {
    ...wanted,
    requestId,
    resources: { ...resources },
    strategy,
    envVars: { ...envVars },
    envKey,
    isRetriable: isRetriable && !wanted.isActor,
  }
}
