import { createHash, createHmac } from 'node:crypto'
import { inspect } from 'node:util'
import { InvalidArgumentError } from '../../protocols/errors.ts'
import { meshIdBytes } from '../../protocols/membership.ts'
import { meshNameOf } from './certificate.ts'

const prefix = 'shoal1'
export const secretBytesMin = 16
const secretBytesMax = 64
export const addressesMax = 16
const addressLengthMax = 512
const tokenLengthMax = 16 * 1024
export const tokenIdBytes = 8

/** What a token holds: which mesh, a secret, and where members are. It prints without the secret. */
export class JoinToken {
  readonly meshId: Uint8Array
  readonly addresses: readonly string[]
  readonly #secret: Uint8Array

  constructor(meshId: Uint8Array, secret: Uint8Array, addresses: readonly string[] = []) {
    this.meshId = meshId
    this.#secret = secret
    this.addresses = addresses
  }

  /** Names the token without giving it away: 16 hex digits. */
  get id(): string {
    return createHash('sha256')
      .update('shoal/token-id/1\0')
      .update(this.#secret)
      .digest()
      .toString('hex', 0, tokenIdBytes)
  }

  /** What proves that one has the token. The node that made it keeps this, not the secret. */
  get key(): Uint8Array {
    return createHmac('sha256', this.#secret).update('shoal/token-key/1\0').update(this.meshId).digest()
  }

  /** The secret part, to be written into the text of the token. Never to be printed in any other way. */
  get secret(): Uint8Array {
    return this.#secret
  }

  toJSON(): unknown {
    return { id: this.id, mesh: meshNameOf(this.meshId), addresses: this.addresses }
  }

  [inspect.custom](): unknown {
    return this.toJSON()
  }
}

/** The text that people hand on: no spaces, and nothing that a shell would take for something else. */
export function formatToken(token: JoinToken): string {
  for (const address of token.addresses) checkAddress(address)
  if (token.addresses.length > addressesMax) refuse(`it has ${token.addresses.length} addresses, over ${addressesMax}`)
  const addresses = token.addresses.length === 0 ? '' : `@${token.addresses.join(',')}`
  return `${prefix}.${base64url(token.meshId)}.${base64url(token.secret)}${addresses}`
}

/** Reads the text of a token. Throws InvalidArgumentError that says what is wrong with it, without its secret. */
export function parseToken(text: string): JoinToken {
  const trimmed = text.trim()
  if (trimmed.length > tokenLengthMax) refuse(`it is ${trimmed.length} characters long`)
  if (trimmed === '') refuse('it is empty')
  const space = trimmed.search(/\s/)
  if (space !== -1) refuse(`there is a space or a line break after character ${space}: copy it as one line`)
  const at = trimmed.indexOf('@')
  const [version, mesh, secret, ...rest] = (at === -1 ? trimmed : trimmed.slice(0, at)).split('.')
  if (version !== prefix) refuse(`it does not begin with "${prefix}."`)
  if (mesh === undefined || secret === undefined || rest.length > 0) {
    refuse('it must have three parts with dots between them, then @ and addresses if there are any')
  }
  const meshId = fromBase64url(mesh, 'second part, the mesh')
  if (meshId.length !== meshIdBytes) refuse(`its second part, the mesh, must have ${meshIdBytes} bytes: copy all of it`)
  const secretBytes = fromBase64url(secret, 'third part, the secret')
  if (secretBytes.length < secretBytesMin || secretBytes.length > secretBytesMax) {
    refuse(
      `its third part, the secret, must have ${secretBytesMin} to ${secretBytesMax} bytes, not ${secretBytes.length}: copy all of it`,
    )
  }
  const addresses = at === -1 ? [] : trimmed.slice(at + 1).split(',')
  if (addresses.length > addressesMax) refuse(`it has ${addresses.length} addresses, over ${addressesMax}`)
  for (const address of addresses) checkAddress(address)
  return new JoinToken(meshId, secretBytes, addresses)
}

function checkAddress(address: string): void {
  // The message does not quote it: a token pasted twice has a secret there.
  if (address.length > addressLengthMax || !/^\/[\w/.:%-]+$/.test(address)) {
    refuse('what follows the @ must be addresses like /ip4/192.168.1.7/tcp/7461 with commas between them')
  }
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url')
}

function fromBase64url(text: string, what: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64url')
  // Node skips what it does not know, so that only a text that comes out the same was read whole.
  if (bytes.toString('base64url') !== text) refuse(`its ${what}, has characters that do not belong there`)
  return Uint8Array.from(bytes)
}

function refuse(problem: string): never {
  throw new InvalidArgumentError(`this is not a join token: ${problem}. Make one with \`shoal token create\``)
}
