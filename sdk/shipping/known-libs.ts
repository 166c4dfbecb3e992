import { isBuiltin } from 'node:module'
import { loadedFile, loadedFileByUrl } from './code-files.ts'
import { externalOfUrl } from './external-packages.ts'
import type { LibManifest } from './manifest.ts'
import { sdkPathOfImport } from './sdk-files.ts'

/** What an import means when that is clear without looking at files. */
export function knownLib(specifier: string, directory: string): LibManifest | undefined {
  if (isBuiltin(specifier)) return { kind: 'builtin', name: specifier.replace(/^node:/, '') }
  const sdkPath = sdkPathOfImport(specifier, directory)
  if (sdkPath !== undefined) return { kind: 'sdk', path: sdkPath }
  // Code that was shipped to this process names its imports by what has been shipped with it.
  const file = loadedFile(specifier) ?? loadedFileByUrl(specifier)
  if (file !== undefined) return { kind: 'code', key: file.key }
  return externalOfUrl(specifier)
}
