import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { ExternalPackage, LibManifest } from './manifest.ts'
import { packageNameOf } from './script.ts'

export interface InstalledPackage {
  directory: string
  name: string
  version: string
}

/** By directory. Bounded by what is installed. */
const packages = new Map<string, InstalledPackage>()

/** The installed package that a file belongs to. */
export function packageOf(file: string): InstalledPackage | undefined {
  const name = packageNameOf(file)
  if (name === undefined) return undefined
  const directory = /^.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+/.exec(file)?.[0] ?? ''
  let found = packages.get(directory)
  if (found === undefined) packages.set(directory, (found = { directory, name, version: versionIn(directory) }))
  return found
}

function versionIn(directory: string): string {
  try {
    const { version } = JSON.parse(readFileSync(path.join(directory, 'package.json'), 'utf8')) as { version?: string }
    return version ?? ''
  } catch {
    return ''
  }
}

/** A package's file as something to import from where it is installed. */
export function externalPackage(specifier: string, file: string): ExternalPackage {
  const found = packageOf(file)
  const { href: url } = pathToFileURL(file)
  return { external: specifier, url, package: found?.name ?? '', version: found?.version ?? '' }
}

/** The same for an import that names the file already: bundled code does. */
export function externalOfUrl(specifier: string): LibManifest | undefined {
  if (!specifier.startsWith('file:') || !specifier.includes('/node_modules/')) return undefined
  return { kind: 'external', ...externalPackage(specifier, fileURLToPath(specifier)) }
}
