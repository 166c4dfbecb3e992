import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundleProgram, type ProgramSources } from './bundle-program.ts'

export interface WorkerProgramOptions {
  /** The SDK's worker entry. */
  entry: string
  /** Where files of all nodes of this user are kept; undefined when there is no such place. */
  cacheDirectory: string | undefined
  log(text: string): void
}

const placesExtension = '.places'
/** Those that no node has started with for so long are deleted. */
const keptMs = 30 * 86_400_000

/**
 * What worker processes run: the SDK in one file, which starts in half the time that its modules take. It is made once for
 * each state of the sources; until it is there, and where it cannot be made, workers run the modules.
 */
export class WorkerProgram {
  readonly #options: WorkerProgramOptions
  #bundle: string | undefined

  constructor(options: WorkerProgramOptions) {
    this.#options = options
  }

  /** What a worker that is started now is to run. */
  get file(): string {
    return this.#bundle !== undefined && existsSync(this.#bundle) ? this.#bundle : this.#options.entry
  }

  /** Looks for the file, and makes it if need be. Fulfilled in any case. */
  async prepare(): Promise<void> {
    const { entry, cacheDirectory, log } = this.#options
    if (cacheDirectory === undefined) return
    try {
      // At once, before the first worker is started.
      const sources = readSources(entry)
      const file = path.join(cacheDirectory, `main-${hashOf(sources)}.mjs`)
      if (existsSync(file)) {
        this.#bundle = file
        for (const each of [file, `${file}${placesExtension}`]) await utimes(each, new Date(), new Date())
        return
      }
      await mkdir(cacheDirectory, { recursive: true, mode: 0o700 })
      const { code, places } = await bundleProgram(sources, file)
      await write(`${file}${placesExtension}`, places)
      await write(file, code)
      this.#bundle = file
      await deleteOld(cacheDirectory)
    } catch (error) {
      const how = this.#bundle === undefined ? 'run the modules of the SDK one by one' : 'run one file'
      log(`workers ${how}: ${(error as Error).message}`)
    }
  }
}

/** All modules that a worker's program can consist of. */
function readSources(entry: string): ProgramSources {
  const extension = path.extname(entry)
  const sdk = path.dirname(path.dirname(entry))
  const files = new Map<string, Buffer>()
  for (const folder of [sdk, path.join(path.dirname(sdk), 'protocols')]) {
    for (const file of filesIn(folder).toSorted()) {
      if (file.endsWith(extension) && !file.endsWith('.d.ts')) files.set(file, readFileSync(file))
    }
  }
  return { entry, main: path.join(sdk, `index${extension}`), files }
}

/** All below a folder. Node's own way takes ten times as long. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name)
    return entry.isDirectory() ? filesIn(file) : file
  })
}

/** Of all that decides what is in the file: the sources, where they are, and how it is made. */
function hashOf({ entry, files }: ProgramSources): string {
  const maker = readFileSync(fileURLToPath(new URL(`./bundle-program${path.extname(entry)}`, import.meta.url)))
  const hash = createHash('sha256').update(maker)
  for (const [file, text] of files) hash.update(`\0${file}\0${text.length}\0`).update(text)
  return hash.digest('hex').slice(0, 32)
}

/** Other nodes may do the same: nobody is to see half of it. */
async function write(file: string, text: string): Promise<void> {
  const unfinished = `${file}.${randomBytes(8).toString('hex')}`
  try {
    await writeFile(unfinished, text, { mode: 0o600 })
    await rename(unfinished, file)
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
}

async function deleteOld(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const file = path.join(directory, name)
    const found = await stat(file).catch(() => undefined)
    if (found !== undefined && found.mtimeMs < Date.now() - keptMs) await rm(file, { force: true })
  }
}
