/**
 * Names of things. A client (a driver or a worker) gets its id from its node: 8 bytes of the node's identity, 4 of its
 * start, 4 counted up. An object's id is its owner's id and a number of the owner's own, so an id alone tells whom to ask.
 */

/** 8 bytes as 16 hex digits: the beginning of the SHA-256 of a node's public key. */
export type NodeId = string
/** 16 bytes as 32 hex digits. */
export type ClientId = string
/** 22 bytes as 44 hex digits: the owner's ClientId and a 48-bit number. */
export type ObjectId = string

export const nodeIdBytes = 8
export const clientIdBytes = 16
export const objectIdBytes = 22

export function objectId(owner: ClientId, sequence: number): ObjectId {
  return owner + sequence.toString(16).padStart(12, '0')
}

export function ownerOf(id: ObjectId): ClientId {
  return id.slice(0, clientIdBytes * 2)
}

/** The node of a client, of an object's owner, or of what a client has stored: their ids begin with it. */
export function nodeOf(id: ClientId): NodeId {
  return id.slice(0, nodeIdBytes * 2)
}

export function sequenceOf(id: ObjectId): number {
  return Number.parseInt(id.slice(clientIdBytes * 2), 16)
}

const objectIdPattern = /^[0-9a-f]{44}$/

/** True for what may be the id of an object. */
export function isObjectId(text: string): text is ObjectId {
  return objectIdPattern.test(text)
}
