import type { RouterAction } from '../../node/routing/router-events.ts'
import type { LeaseNeighbours } from '../../node/server/lease-desk.ts'
import type { Advert } from '../../protocols/advert.ts'
import type { NodeId } from '../../protocols/ids.ts'
import type { Mail } from './routing-network.ts'

/** What a simulated node's lease desk says to other nodes, as mail. */
export function simulatedNeighbours(with_: {
  mail(to: NodeId, mail: Mail): void
  stateOf(node: NodeId): Advert | undefined
  state(): Advert
  onCancelled(): void
}): LeaseNeighbours {
  const { mail, state, onCancelled } = with_
  return {
    askLease(node, { resources, client, requestId, job, label, depth, strategy, envKey, isActor }, mayWait) {
      const asked = { client, requestId, job, label, depth, strategy, envKey, isActor, isRetriable: false, envVars: {} }
      const body = { ...asked, resources: { ...resources }, mayWait }
      mail(node, { name: 'leaseAsk', body })
    },
    cancelAsk(node, key) {
      onCancelled()
      mail(node, { name: 'leaseAskCancel', body: key })
    },
    refuseAsk(node, key, { error, message, details }) {
      mail(node, { name: 'leaseAskRefuse', body: { ...key, error, message, details, state: state() } })
    },
    returnLease: (node, client, leaseId) => mail(node, { name: 'leaseReturn', client, leaseId }),
    killLease: (node, client, leaseId, reason) => mail(node, { name: 'leaseKill', client, leaseId, reason }),
    tellHead: (action) => mail(action.head, demandMail(action, with_.stateOf)),
    nodesAble: () => 1,
    whyForbidden: () => undefined,
  }
}

function demandMail(
  action: Extract<RouterAction, { type: `demand${string}` }>,
  stateOf: (node: NodeId) => Advert | undefined,
): Mail {
  switch (action.type) {
    case 'demandAdd': {
      const { client, requestId, resources, depth, label, strategy } = action.request
      const body = { client, requestId, resources, depth, label, strategy, waitedMs: action.waitedMs }
      return { name: 'demandAdd', body }
    }
    case 'demandRemove': {
      const { client, requestId, isGranted } = action
      return { name: 'demandRemove', body: { client, requestId, isGranted } }
    }
    case 'demandRefused': {
      const { client, requestId, node } = action
      const state = stateOf(node)
      return { name: 'demandRefused', body: { client, requestId, node, state: state === undefined ? [] : [state] } }
    }
  }
}
