import { acceleratorOf } from './accelerators.ts'
import { InvalidArgumentError } from './errors.ts'

/**
 * The resources of a node or of a request, by name: `CPU`, `GPU`, `memory` (bytes) and what users name themselves. A request
 * may have `gpuMemory` (bytes of one device, or of each) and `accelerator:TYPE` besides.
 */
export type ResourceSet = Readonly<Record<string, number>>

/** Resources as options name them, on tasks and on nodes alike. */
export interface ResourceOptions {
  numCpus?: number | undefined
  numGpus?: number | undefined
  memoryBytes?: number | undefined
  /** Of a request only: memory of a GPU. */
  gpuMemoryBytes?: number | undefined
  /** Resources with names of the user's own. */
  resources?: Readonly<Record<string, number>> | undefined
}

const ownNames = {
  CPU: 'numCpus',
  GPU: 'numGpus',
  gpuMemory: 'gpuMemoryBytes',
  memory: 'memoryBytes',
} as const satisfies Record<string, keyof ResourceOptions>
/** Names that one set may have. */
const namesMax = 200
const namePattern = /^[A-Za-z][\w.:/-]{0,63}$/

/** Shares of a resource are counted in ten-thousandths, so that 0.1 ten times is exactly 1. */
const unitsPerOne = 10_000

/** Memory is counted in whole bytes: ten-thousandths of a terabyte's bytes would not fit in a safe integer. */
function unitsPer(name: string): number {
  return isBytes(name) ? 1 : unitsPerOne
}

function isBytes(name: string): boolean {
  return name === 'memory' || name === 'gpuMemory'
}

/** The amount as a whole number of the smallest units, for sums that must not drift. */
export function toUnits(name: string, amount: number): number {
  return Math.round(amount * unitsPer(name))
}

/** The amount that a whole number of units stands for. */
export function fromUnits(name: string, units: number): number {
  return units / unitsPer(name)
}

/**
 * Checks a request or a total and returns a clean copy: amounts rounded to what is counted, zeros left out.
 * Throws InvalidArgumentError that names the entry and what is accepted.
 *
 * @param what where the value comes from, for the message: "the request of task 'train'"
 */
export function checkResources(input: Readonly<Record<string, number>>, what = 'resources'): ResourceSet {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new InvalidArgumentError(`${what}: expected an object of names and amounts, such as { CPU: 1 }`, { input })
  }
  const entries = Object.entries(input)
  if (entries.length > namesMax) {
    throw new InvalidArgumentError(`${what}: ${entries.length} names; at most ${namesMax} are possible`, { namesMax })
  }
  const set: Record<string, number> = {}
  for (const [name, amount] of entries) {
    checkName(name, what)
    checkAmount(name, amount, `${what}: ${name}`)
    if (amount > 0) set[name] = fromUnits(name, toUnits(name, amount))
  }
  return set
}

/**
 * The resource set that task or node options ask for. What is not given is left out.
 *
 * @example
 * resourcesFromOptions({ numCpus: 2, resources: { camera: 1 } }) // { CPU: 2, camera: 1 }
 */
export function resourcesFromOptions(options: ResourceOptions, what = 'options'): ResourceSet {
  const set: Record<string, number> = {}
  for (const [name, option] of Object.entries(ownNames)) {
    const amount = options[option]
    if (amount === undefined) continue
    checkAmount(name, amount, `${what}: ${option}`)
    set[name] = amount
  }
  const custom = options.resources ?? {}
  for (const name of Object.keys(custom)) {
    const option = optionFor(name)
    if (option === undefined) continue
    throw new InvalidArgumentError(`${what}: resources.${name} is not a name of your own; use \`${option}\``, { name })
  }
  return checkResources({ ...custom, ...set }, what)
}

/** The option that asks for what has this name; undefined for a name of the user's own. */
export function optionFor(name: string): string | undefined {
  if (acceleratorOf(name.toLowerCase()) !== undefined) return 'acceleratorType'
  return Object.entries(ownNames).find(([own]) => own.toLowerCase() === name.toLowerCase())?.[1]
}

/** How much there is of what has this name: users name resources as they like, also `constructor`. */
export function amountOf(set: ResourceSet, name: string): number {
  return Object.hasOwn(set, name) ? (set[name] ?? 0) : 0
}

/** True when the request takes some of what has this name. What takes memory of a GPU takes a part of the GPU. */
export function asksFor(request: ResourceSet, name: string): boolean {
  return amountOf(request, name) > 0 || (name === 'GPU' && (request['gpuMemory'] ?? 0) > 0)
}

function checkName(name: string, what: string): void {
  if (namePattern.test(name)) return
  throw new InvalidArgumentError(
    `${what}: '${name}' is not a resource name; use a letter, then at most 63 letters, digits or _ . : / -`,
    { name },
  )
}

function checkAmount(name: string, amount: unknown, what: string): asserts amount is number {
  const refuse = (expected: string): never => {
    throw new InvalidArgumentError(`${what} is ${String(amount)}; expected ${expected}`, { name, amount })
  }
  if (typeof amount !== 'number' || !Number.isFinite(amount) || amount < 0) return refuse('a finite number, 0 or more')
  if (name === 'GPU' && amount > 1 && !Number.isInteger(amount)) {
    return refuse('a whole number of GPUs, or a fraction up to 1 (a fraction shares one device)')
  }
  if (amount > 0 && toUnits(name, amount) === 0) return refuse(`0 or at least ${1 / unitsPer(name)}`)
  if (!Number.isSafeInteger(toUnits(name, amount))) {
    return refuse(`at most ${Math.floor(Number.MAX_SAFE_INTEGER / unitsPer(name))}`)
  }
}

/** One text for one set whatever the order of its names: the key under which equal requests are grouped. */
export function resourcesKey(set: ResourceSet): string {
  return namesInOrder(set)
    .filter((name) => set[name] !== 0)
    .map((name) => `${name}=${toUnits(name, set[name] ?? 0)}`)
    .join(',')
}

/** The set for a person to read: "CPU 2, GPU 0.5, GPU memory 8 GiB, memory 1.5 GiB, GPU type H100". */
export function formatResources(set: ResourceSet): string {
  const names = namesInOrder(set)
  if (names.length === 0) return 'CPU 0'
  const types = names.map(acceleratorOf).filter((type) => type !== undefined)
  const amounts = names
    .filter((name) => acceleratorOf(name) === undefined)
    .map((name) => `${name === 'gpuMemory' ? 'GPU memory' : name} ${formatAmount(name, set[name] ?? 0)}`)
  return [...amounts, ...(types.length === 0 ? [] : [`GPU type ${types.join(' or ')}`])].join(', ')
}

/** One amount for a person to read: memory in binary units, anything else as a plain number. */
export function formatAmount(name: string, amount: number): string {
  if (isBytes(name)) return formatBytes(amount)
  return String(Math.round(amount * unitsPerOne) / unitsPerOne)
}

function formatBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let amount = bytes
  let unit = 0
  while (Math.abs(amount) >= 1024 && unit < units.length - 1) {
    amount /= 1024
    unit++
  }
  if (bytes === 1) return '1 byte'
  return `${Math.round(amount * 10) / 10} ${units[unit]}`
}

/** CPU, GPU, their memory, then the users' own names by alphabet. */
function namesInOrder(set: ResourceSet): string[] {
  const known = Object.keys(ownNames)
  const rank = (name: string): number => (known.includes(name) ? known.indexOf(name) : known.length)
  return Object.keys(set).sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
}
