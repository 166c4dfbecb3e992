import './loopback.ts'
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'

/** The SDK's main module, for programs that tests write. */
const sdkPath = fileURLToPath(new URL('../../sdk/index.ts', import.meta.url))

export interface Outcome {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** A program of a user, in a process of its own and in a folder that is removed afterwards. */
export class DriverProgram implements AsyncDisposable {
  readonly directory: string
  readonly file: string
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #ended: Promise<Outcome>
  #stdout = ''
  #stderr = ''
  #watchers = new Set<() => void>()

  /** @param source TypeScript; `SDK` in it stands for the path of the SDK's main module. */
  constructor(source: string, env: Record<string, string> = {}) {
    this.directory = mkdtempSync(path.join(tmpdir(), 'shoal-driver-'))
    this.file = path.join(this.directory, 'driver.ts')
    writeFileSync(path.join(this.directory, 'package.json'), '{"type":"module"}')
    writeFileSync(this.file, source.replaceAll('SDK', sdkPath))
    this.#child = spawn(process.execPath, [this.file], {
      cwd: this.directory,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, SHOAL_RUNTIME_DIR: path.join(this.directory, 'run'), ...env },
    })
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text
      for (const watcher of this.#watchers) watcher()
    })
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
      for (const watcher of this.#watchers) watcher()
    })
    this.#ended = once(this.#child, 'close').then(([code, signal]) => {
      for (const watcher of this.#watchers) watcher()
      return {
        code: code as number | null,
        signal: signal as NodeJS.Signals | null,
        stdout: this.#stdout,
        stderr: this.#stderr,
      }
    })
  }

  get pid(): number {
    return this.#child.pid as number
  }

  /** For programs that read their standard input. */
  write(text: string): void {
    this.#child.stdin.write(text)
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** The first match in what the program prints; rejects when it ends without one. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>()
    const look = (): void => {
      const match = pattern.exec(this.#stdout + this.#stderr)
      if (match !== null) resolve(match)
      else if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        reject(new Error(`the program ended without ${String(pattern)}:\n${this.#stdout}\n${this.#stderr}`))
      }
    }
    this.#watchers.add(look)
    look()
    try {
      return await promise
    } finally {
      this.#watchers.delete(look)
    }
  }

  /** Resolves when the program has ended and its output is complete. */
  ended(): Promise<Outcome> {
    return this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
    rmSync(this.directory, { recursive: true, force: true })
  }
}
