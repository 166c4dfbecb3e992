import { MembershipError } from '../../protocols/errors.ts'
import type { JoinRefusal } from './join-messages.ts'

const askForNew = 'Ask for a new one: `shoal token create`'

const texts: Readonly<Record<JoinRefusal, string>> = {
  unknown: `the node that was asked does not know this token. ${askForNew}`,
  expired: `the token has expired. ${askForNew}`,
  usedUp: `the token has been used as often as it may be. ${askForNew}`,
  revoked: `the token has been revoked. ${askForNew}`,
  tooManyTries: 'there were too many failed tries to join: wait a minute and try again',
  cannotAdmit: 'the node that was asked may not admit others: use a token that was made on an admin node',
  otherMesh: `the node that was asked does not belong to the mesh of this token. ${askForNew}`,
  otherVersion:
    'the node that was asked speaks another version of the join protocol: use the same version of shoal on both',
  nodeRevoked:
    'this node has been revoked from the mesh: `shoal leave` gives it a new identity, with which it may join',
  failed:
    'the node that was asked could not admit this one because of a failure of its own: see its log, and try again',
}

/** The error of a node that was not admitted: why, and the way out. */
export function joinRefusalError(reason: JoinRefusal): MembershipError {
  return new MembershipError(`this node was not admitted: ${texts[reason]}`, { reason })
}
