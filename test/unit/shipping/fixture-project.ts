import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after } from 'node:test'
import { pathToFileURL } from 'node:url'

/** A folder with a program and its packages, for the time of the tests. */
export class FixtureProject {
  readonly directory = mkdtempSync(path.join(tmpdir(), 'shoal-project-'))

  constructor(files: Record<string, string>) {
    for (const [name, text] of Object.entries(files)) {
      const file = path.join(this.directory, name)
      mkdirSync(path.dirname(file), { recursive: true })
      writeFileSync(file, text)
    }
    after(() => rmSync(this.directory, { recursive: true, force: true }))
  }

  /** Loads a module of the program here. */
  async load(name: string): Promise<Record<string, (...args: never[]) => unknown>> {
    return (await import(pathToFileURL(path.join(this.directory, name)).href)) as Record<
      string,
      (...args: never[]) => unknown
    >
  }
}

/** The files of an installed package. */
export function packageFiles(name: string, manifest: object, files: Record<string, string>): Record<string, string> {
  const folder = `node_modules/${name}`
  return {
    [`${folder}/package.json`]: JSON.stringify({ name, version: '1.2.3', ...manifest }),
    ...Object.fromEntries(Object.entries(files).map(([file, text]) => [`${folder}/${file}`, text])),
  }
}
