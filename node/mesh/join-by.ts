import { setTimeout as sleep } from 'node:timers/promises'
import { MembershipError, UnreachableError } from '../../protocols/errors.ts'
import { parseToken, type JoinToken } from '../membership/join-token.ts'
import type { Membership } from '../membership/membership.ts'
import { requestToJoin } from '../membership/request-to-join.ts'
import { dialToJoin } from '../network/dial-to-join.ts'

const dialMs = 5000
/** A member lets in a few at a time: the others come again for so long, after a pause that grows from the first to the last. */
const comeAgainMs = 10_000
const pauseMsMin = 250
const pauseMsMax = 2000

export interface JoinByComponents {
  log(text: string): void
  dial?: typeof dialToJoin
  /** Waits for some milliseconds. */
  pause?(ms: number): Promise<unknown>
  nowMs?(): number
}

/**
 * Becomes a member by a token; gives the addresses of those who let others in. A node that is one already, of the same
 * mesh, stays as it is. Rejects with UnreachableError when nobody lets it in, MembershipError when it is refused.
 */
export async function joinBy(
  membership: Membership,
  text: string,
  { log, dial = dialToJoin, pause = sleep, nowMs = () => performance.now() }: JoinByComponents,
): Promise<readonly string[]> {
  const token = parseToken(text)
  if (membership.isMember) {
    if (Buffer.compare(membership.meshId, token.meshId) === 0) {
      log('this node is a member of that mesh already; the token was not used')
      return token.addresses
    }
    throw new MembershipError(
      `this node belongs to another mesh already (${membership.meshName}): leave that one first, with \`shoal leave\``,
    )
  }
  if (token.addresses.length === 0) {
    throw new UnreachableError('the token names no address: use it whole, with all that comes after the @')
  }
  const endMs = nowMs() + comeAgainMs
  for (let pauseMs = pauseMsMin; ; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
    const { failures, isBusy } = await tryAll(membership, token, dial)
    if (failures === undefined) return token.addresses
    if (!isBusy) {
      throw new UnreachableError(
        `no member could be reached to join the mesh: ${failures}; is that machine up, and does a firewall stand between?`,
      )
    }
    if (nowMs() + pauseMs > endMs) {
      throw new UnreachableError(`no member has let this node in: ${failures}; if many join at this moment, try again`)
    }
    await pause(pauseMs * (0.5 + Math.random()))
  }
}

/** Tries the addresses one after the other. Busy: somebody was there, who broke off. */
async function tryAll(
  membership: Membership,
  token: JoinToken,
  dial: typeof dialToJoin,
): Promise<{ failures: string | undefined; isBusy: boolean }> {
  const failures: string[] = []
  let isBusy = false
  for (const address of token.addresses) {
    let isThere = false
    try {
      await using conversation = await dial({ seed: membership.identity.seed, address, timeoutMs: dialMs })
      isThere = true
      await membership.adoptCredentials(await requestToJoin(conversation, token, membership.identity))
      return { failures: undefined, isBusy }
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error
      isBusy ||= isThere
      failures.push(isThere ? `${address}: ${error.message}` : error.message)
    }
  }
  return { failures: failures.join('; '), isBusy }
}
