import { createHash } from 'node:crypto'
import { nodeIdBytes, type NodeId } from '../../protocols/ids.ts'
import { KeyPair } from './key-pair.ts'

/** The name of the node that holds a key: the beginning of the SHA-256 of the raw public key. */
export function nodeIdOf(publicKey: Uint8Array): NodeId {
  return createHash('sha256').update(publicKey).digest().toString('hex', 0, nodeIdBytes)
}

/** The key pair of a node, and the name that follows from it. */
export class Identity extends KeyPair {
  readonly node: NodeId

  constructor(seed: Uint8Array) {
    super(seed)
    this.node = nodeIdOf(this.publicKey)
  }

  override toJSON(): unknown {
    return { node: this.node }
  }
}
