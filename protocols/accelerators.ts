/**
 * Types of GPUs, such as `H100` or `RTX 3090`. In a set of resources a type is a name of its own, `accelerator:RTX3090`,
 * that says which devices the set's `GPU` and `gpuMemory` are to be of; several of them mean any of these types.
 */
const prefix = 'accelerator:'

/** A type as it is compared: case, spaces and dashes do not matter. @example acceleratorKey('rtx 3090') // 'RTX3090' */
export function acceleratorKey(type: string): string {
  return type.toUpperCase().replaceAll(/[^A-Z0-9]/g, '')
}

/** True for what can be the type of a GPU: a text of at most 48 characters of ASCII, with a letter or a digit. */
export function isAcceleratorType(type: unknown): type is string {
  return typeof type === 'string' && /^[ -~]{1,48}$/.test(type) && acceleratorKey(type) !== ''
}

/** The name that asks for GPUs of a type in a set of resources. */
export function acceleratorName(type: string): string {
  return prefix + acceleratorKey(type)
}

/** The type that a name in a set of resources stands for; undefined for any other name. */
export function acceleratorOf(name: string): string | undefined {
  return name.startsWith(prefix) ? name.slice(prefix.length) : undefined
}
