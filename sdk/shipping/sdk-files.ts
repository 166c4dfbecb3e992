import path from 'node:path'
import { fileURLToPath } from 'node:url'

const sdkDirectory = fileURLToPath(new URL('..', import.meta.url))
const protocolsDirectory = fileURLToPath(new URL('../../protocols/', import.meta.url))

/** The name that users import the SDK by. */
export const sdkName = 'shoal'

/** The folders of the SDK itself: their modules are never shipped, every worker has them. */
export const sdkDirectories: readonly string[] = [sdkDirectory, protocolsDirectory]

/**
 * How a module of the SDK is named to the worker's SDK: its path from the main module's folder, empty for the main
 * module. Undefined for other files.
 */
export function sdkPathOf(file: string): string | undefined {
  if (!sdkDirectories.some((directory) => file.startsWith(directory))) return undefined
  const relative = path.relative(sdkDirectory, file).replaceAll(path.sep, '/')
  return /^index\.[jt]s$/.test(relative) ? '' : relative
}

/** The same for what an import statement says, seen from a folder. */
export function sdkPathOfImport(specifier: string, directory: string): string | undefined {
  if (specifier === sdkName) return ''
  if (specifier.startsWith('shoal-sdk:')) return specifier.slice('shoal-sdk:'.length)
  if (specifier.startsWith('file:')) return sdkPathOf(fileURLToPath(specifier))
  if (/^\.{0,2}\//.test(specifier)) return sdkPathOf(path.resolve(directory, specifier))
  return undefined
}
