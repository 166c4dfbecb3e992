import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { inspect } from 'node:util'

// What DER puts before the 32 raw bytes of an Ed25519 key.
const privatePrefix = Buffer.from('302e020100300506032b657004220420', 'hex')
const publicPrefix = Buffer.from('302a300506032b6570032100', 'hex')

export const seedBytes = 32

/** An Ed25519 key pair, made of a seed of 32 bytes. It prints as its public key only. */
export class KeyPair {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  readonly #seed: Uint8Array
  readonly #privateKey: KeyObject

  constructor(seed: Uint8Array) {
    if (seed.length !== seedBytes) throw new Error(`a key's seed has ${seedBytes} bytes, not ${seed.length}`)
    this.#seed = Uint8Array.from(seed)
    this.#privateKey = createPrivateKey({
      key: Buffer.concat([privatePrefix, this.#seed]),
      format: 'der',
      type: 'pkcs8',
    })
    const der = createPublicKey(this.#privateKey).export({ format: 'der', type: 'spki' })
    this.publicKey = Uint8Array.from(der.subarray(publicPrefix.length))
  }

  /** The secret part, for the state folder and the network. Never to be printed. */
  get seed(): Uint8Array {
    return this.#seed
  }

  /** @param label says what the bytes are, so that a signature is of no use for anything else */
  sign(label: string, bytes: Uint8Array): Uint8Array {
    return sign(null, labelled(label, bytes), this.#privateKey)
  }

  toJSON(): unknown {
    return { publicKey: Buffer.from(this.publicKey).toString('hex') }
  }

  [inspect.custom](): unknown {
    return this.toJSON()
  }
}

/** True when the holder of the key has signed the bytes under the label. */
export function isSignedBy(publicKey: Uint8Array, label: string, bytes: Uint8Array, signature: Uint8Array): boolean {
  try {
    const key = createPublicKey({ key: Buffer.concat([publicPrefix, publicKey]), format: 'der', type: 'spki' })
    return verify(null, labelled(label, bytes), key, signature)
  } catch {
    // Bytes that are no point of the curve are nobody's key.
    return false
  }
}

function labelled(label: string, bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${label}\0`, 'latin1'), bytes])
}
