import './loopback.ts'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { NodeOptions } from '../../node/options.ts'
import type { NodeFile } from '../../node/home/node-file.ts'

const main = fileURLToPath(new URL('../../node/main.ts', import.meta.url))
const fakeWorker = fileURLToPath(new URL('./fake-worker.ts', import.meta.url))

export interface DaemonProcess {
  child: ChildProcess
  runtimeDirectory: string
  socketPath: string
  pid: number
  ready: { ready?: true; socketPath?: string; pid?: number; resources?: Record<string, number>; error?: FailedStart }
}

export interface FailedStart {
  code: string
  message: string
}

const directories: string[] = []
// Not after each test: the processes that use them are ended by hooks of the test, too.
process.once('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true })
})

/** A folder of a test's own; deleted when the test file is done. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'shoal-test-'))
  directories.push(directory)
  return directory
}

/** Starts a node with fake workers as a process of its own, and waits for its line. Ended after the test. */
export async function startDaemonProcess(
  t: TestContext,
  options: NodeOptions = {},
  env: NodeJS.ProcessEnv = {},
): Promise<DaemonProcess> {
  const runtimeDirectory = options.runtimeDirectory ?? temporaryDirectory()
  const all = { workerEntry: fakeWorker, cpus: 2, gpus: 0, storeBytesMax: 1e6, ...options, runtimeDirectory }
  const child = spawn(process.execPath, [main, JSON.stringify(all)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  })
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  })
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  const ready = JSON.parse(line) as DaemonProcess['ready']
  return { child, runtimeDirectory, socketPath: ready.socketPath ?? '', pid: child.pid ?? 0, ready }
}

export function nodeFileOf({ runtimeDirectory }: DaemonProcess): NodeFile {
  return JSON.parse(readFileSync(path.join(runtimeDirectory, 'node.json'), 'utf8')) as NodeFile
}

/** Waits for what has no event of its own to wait for. */
export async function until(what: string, isTrue: () => boolean, timeoutMs = 10_000): Promise<void> {
  const end = Date.now() + timeoutMs
  while (!isTrue()) {
    if (Date.now() > end) throw new Error(`gave up waiting until ${what}`)
    await delay(10)
  }
}

/** True when the process is there and not a zombie that nobody has collected yet. */
export function isRunning(pid: number): boolean {
  if (existsSync('/proc/self')) {
    try {
      return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  }
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
