import { isIP } from 'node:net'
import { acceleratorOf, isAcceleratorType } from '../../protocols/accelerators.ts'
import { isObjectId, type ObjectId } from '../../protocols/ids.ts'
import { UsageError } from './usage-error.ts'

const byteUnits: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 1024,
  MIB: 1024 ** 2,
  GIB: 1024 ** 3,
  TIB: 1024 ** 4,
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
  T: 1024 ** 4,
}

const ownNames: ReadonlyMap<string, string> = new Map([
  ['cpu', '--cpus'],
  ['gpu', '--gpus'],
  ['gpumemory', '--gpu-memory'],
  ['memory', '--memory'],
])

function refuse(option: string, expected: string, text: string): never {
  throw new UsageError(`${option} must be ${expected}; got ${JSON.stringify(text)}`)
}

/** A number in plain notation; undefined for anything else, the empty text and hexadecimals included. */
function numberOf(text: string): number | undefined {
  return /^\d+(\.\d+)?(e\d{1,2})?$/i.test(text) ? Number(text) : undefined
}

/** @example parseAmount('--cpus', 'a number of CPUs')('2.5') // 2.5 */
export function parseAmount(option: string, what: string): (text: string) => number {
  return (text) => numberOf(text) ?? refuse(option, `${what}, 0 or more`, text)
}

/** A whole number of at least `minimum`. */
export function parseCount(option: string, what: string, minimum: number): (text: string) => number {
  return (text) => {
    const value = numberOf(text)
    const isRight = value !== undefined && Number.isSafeInteger(value) && value >= minimum
    return isRight ? value : refuse(option, `${what}, ${minimum} or more`, text)
  }
}

/** @example parseBytes('--memory')('1.5GiB') // 1610612736 */
export function parseBytes(option: string): (text: string) => number {
  return (text) => {
    const [, amount = '', unit = ''] = /^([\d.e]+)\s*([a-z]*)$/i.exec(text) ?? []
    const bytes = (numberOf(amount) ?? Number.NaN) * (byteUnits[unit.toUpperCase()] ?? Number.NaN)
    const rounded = Math.round(bytes)
    return Number.isSafeInteger(rounded) ? rounded : refuse(option, 'a size, such as 4GiB, 512MiB or 4e9', text)
  }
}

/**
 * A text, as it is. Not an empty one, as of a variable of the shell that is not set, and none that looks like an option: its
 * own value was forgotten then.
 */
export function parseText(option: string, what: string): (text: string) => string {
  return (text) => (text.trim() === '' || text.startsWith('-') ? refuse(option, what, text) : text)
}

/** Types of GPUs, with commas between them. */
export function parseGpuTypes(text: string): string[] {
  const types = text.split(',').map((type) => type.trim())
  return types.every((type) => isAcceleratorType(type) && !type.startsWith('-'))
    ? types
    : refuse('--gpu-type', 'a type, such as H100, or one for each GPU', text)
}

/** One `name=amount`, added to those before it. */
export function parseResource(text: string, before: Record<string, number> = {}): Record<string, number> {
  const [, name = '', amount = ''] = /^([^=]+)=(.*)$/.exec(text) ?? []
  const value = numberOf(amount)
  if (name === '' || value === undefined) {
    return refuse('--resource', 'a name and an amount of 0 or more, such as tpu=2', text)
  }
  const own = acceleratorOf(name.toLowerCase()) === undefined ? ownNames.get(name.toLowerCase()) : '--gpu-type'
  if (own !== undefined) throw new UsageError(`--resource is for names of your own; for ${name} there is ${own}`)
  if (Object.hasOwn(before, name)) throw new UsageError(`--resource names ${JSON.stringify(name)} twice`)
  return { ...before, [name]: value }
}

/** One `name=value`, added to those before it. The node checks what names and values may be. */
export function parseLabel(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [, name = '', value = ''] = /^([^=]+)=(.*)$/.exec(text) ?? []
  if (name === '') return refuse('--label', 'a name and a value, such as zone=lab1', text)
  if (Object.hasOwn(before, name)) throw new UsageError(`--label names ${JSON.stringify(name)} twice`)
  return { ...before, [name]: value }
}

/** Where a node listens. @example parseListen('127.0.0.1:7461') // { host: '127.0.0.1', port: 7461 } */
export function parseListen(text: string): { host: string; port: number } {
  // Two colons without brackets: an IPv6 address on its own.
  const [, bracketed, plain = bracketed ?? text, port = '0'] =
    /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text) ?? []
  if (isIP(plain) === 0 || Number(port) > 65_535) {
    return refuse('--listen', 'an IP address of this machine, with a port if you like, such as 192.168.1.7:7461', text)
  }
  return { host: plain, port: Number(port) }
}

/** The address of a member, added to those before it: as `shoal nodes` shows it, or IP and port. */
export function parsePeer(text: string, before: readonly string[] = []): string[] {
  if (/^\/[\w/.:%-]+$/.test(text)) return [...before, text]
  const { host = '', port = 0 } = /:\d+$/.test(text) ? ipAndPort(text) : {}
  if (port === 0) return refuse('--peer', 'an address such as 192.168.1.7:7461 or /ip4/192.168.1.7/tcp/7461', text)
  return [...before, `/ip${isIP(host)}/${host}/tcp/${port}`]
}

function ipAndPort(text: string): { host?: string; port?: number } {
  try {
    return parseListen(text)
  } catch {
    return {}
  }
}

const durationUnits: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** @example parseDuration('--ttl')('1h30m') // 5_400_000 */
export function parseDuration(option: string): (text: string) => number {
  return (text) => {
    const parts = [...text.matchAll(/(\d+)([smhd])/gy)]
    const isWhole = parts.length > 0 && parts.map(([part]) => part).join('') === text
    const ms = parts.reduce((sum, [, count, unit = '']) => sum + Number(count) * (durationUnits[unit] ?? 0), 0)
    return isWhole && ms > 0 && Number.isSafeInteger(ms) ? ms : refuse(option, 'a time, such as 30m, 1h or 2d', text)
  }
}

/** A number of seconds, or a time with its units; in milliseconds. */
export function parseSeconds(option: string): (text: string) => number {
  return (text) => {
    const seconds = numberOf(text)
    if (seconds === undefined) return parseDuration(option)(text)
    return seconds > 0 ? Math.max(1, Math.round(seconds * 1000)) : refuse(option, 'a number of seconds', text)
  }
}

/** One of some words. */
export function parseChoice<const T extends string>(option: string, choices: readonly T[]): (text: string) => T {
  return (text) => choices.find((choice) => choice === text) ?? refuse(option, `one of ${choices.join(', ')}`, text)
}

/** The id of an object, as it is or as a ref prints itself. */
export function parseObjectId(text: string): ObjectId {
  const [, typed = ''] = /^\s*(?:ObjectRef\()?\s*([^()]*?)\s*\)?\s*$/.exec(text) ?? []
  const id = typed.toLowerCase()
  if (isObjectId(id)) return id
  const isPart = /^[0-9a-f]{4,43}$/.test(id)
  throw new UsageError(
    isPart
      ? `the id of an object has 44 hex digits, and all are needed; ${JSON.stringify(text)} has ${typed.length}`
      : `the id of an object has 44 hex digits, as \`ref.id\` and \`shoal objects\` show it; got ${JSON.stringify(text)}`,
  )
}
