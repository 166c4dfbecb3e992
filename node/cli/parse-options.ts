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

const ownNames: Readonly<Record<string, string>> = { cpu: '--cpus', gpu: '--gpus', memory: '--memory' }

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

/** One `name=amount`, added to those before it. */
export function parseResource(text: string, before: Record<string, number> = {}): Record<string, number> {
  const [, name = '', amount = ''] = /^([^=]+)=(.*)$/.exec(text) ?? []
  const value = numberOf(amount)
  if (name === '' || value === undefined) {
    return refuse('--resource', 'a name and an amount of 0 or more, such as tpu=2', text)
  }
  const own = ownNames[name.toLowerCase()]
  if (own !== undefined) throw new UsageError(`--resource is for names of your own; for ${name} there is ${own}`)
  if (Object.hasOwn(before, name)) throw new UsageError(`--resource names ${JSON.stringify(name)} twice`)
  return { ...before, [name]: value }
}
