import {
  linkSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { NodeUnavailableError } from '../../protocols/errors.ts'
import { isAlive } from './start-lock.ts'

/** A process, as far as others can tell it from all the rest. */
export interface LockHolder {
  readonly host: string
  /** Of the running system; '' where it does not tell. */
  readonly bootId: string
  /** Pids mean something only to those in the same one, as containers are not; '' where there is no such thing. */
  readonly pidNamespace: string
  readonly pid: number
  /** A pid comes back, but not with the same start; '' where that is not told. */
  readonly startedAt: string
}

export interface StateLockOptions {
  self?: LockHolder
  nowMs?: () => number
}

const refreshMs = 20_000
/** A lock of which nobody here can tell whether its holder lives is dead when it was not refreshed for so long. */
const staleMs = 120_000
const triesMax = 100

/**
 * Keeps a state folder for one node at a time: two with one key would be the same node to all others. A lock whose holder
 * is known to be dead is taken over. Whether one lives that is on another machine or in another container, only its file
 * tells, which the holder touches. Returns the release. Throws NodeUnavailableError when a node has the folder.
 */
export function takeStateLock(
  stateDirectory: string,
  { self = thisProcess(), nowMs = Date.now }: StateLockOptions = {},
): () => void {
  const lock = path.join(stateDirectory, 'node.lock')
  const own = `${lock}.${self.host}.${self.pid}`
  const text = JSON.stringify(self)
  try {
    mkdirSync(stateDirectory, { recursive: true, mode: 0o700 })
    // A link makes the lock and its content appear in one step.
    writeFileSync(own, text, { mode: 0o600 })
    for (let tries = 0; !link(own, lock); tries++) {
      const held = read(lock)
      const holder = held === undefined ? undefined : parse(held.text)
      const isStale = held !== undefined && (holder === undefined || isDead(holder, self, nowMs() - held.touchedAtMs))
      if (tries > triesMax || (held !== undefined && !isStale)) throw refusal(stateDirectory, holder)
      if (held !== undefined) putAway(lock, held.text, `${own}.dead`)
    }
  } catch (cause) {
    if (cause instanceof NodeUnavailableError) throw cause
    const problem = `the state folder ${stateDirectory} cannot be used: ${(cause as Error).message}`
    throw new NodeUnavailableError(problem, { cause, retryable: false, details: { stateDirectory } })
  } finally {
    discard(own)
  }
  const timer = setInterval(() => touch(lock, text, nowMs()), refreshMs).unref()
  return () => {
    clearInterval(timer)
    try {
      if (read(lock)?.text === text) rmSync(lock, { force: true })
    } catch {
      // Out of reach. The process ends, which others can see.
    }
  }
}

function discard(file: string): void {
  try {
    rmSync(file, { force: true })
  } catch {
    // There is no such folder, or it is out of reach.
  }
}

function isDead(holder: LockHolder, self: LockHolder, untouchedMs: number): boolean {
  const isSameHost = holder.host === self.host
  const isSameBoot = holder.bootId === self.bootId
  // The machine has been started anew.
  if (isSameHost && !isSameBoot) return true
  if (isSameHost && holder.pidNamespace === self.pidNamespace) {
    return !isAlive(holder.pid) || startOf(holder.pid) !== holder.startedAt
  }
  return untouchedMs > staleMs
}

function link(own: string, lock: string): boolean {
  try {
    linkSync(own, lock)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return false
  }
}

/** Another one may have taken over a dead lock at the same time: the lock of a living one goes back to its place. */
function putAway(lock: string, dead: string, to: string): void {
  try {
    renameSync(lock, to)
    if (read(to)?.text !== dead) link(to, lock)
    rmSync(to, { force: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function touch(lock: string, text: string, nowMs: number): void {
  try {
    if (read(lock)?.text === text) utimesSync(lock, nowMs / 1000, nowMs / 1000)
  } catch {
    // The folder is out of reach for now.
  }
}

function read(file: string): { text: string; touchedAtMs: number } | undefined {
  try {
    return { text: readFileSync(file, 'utf8'), touchedAtMs: statSync(file).mtimeMs }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function parse(text: string): LockHolder | undefined {
  try {
    const { host, bootId, pidNamespace, pid, startedAt } = JSON.parse(text) as LockHolder
    const texts = [host, bootId, pidNamespace, startedAt]
    if (!texts.every((each) => typeof each === 'string') || !Number.isSafeInteger(pid)) return undefined
    return { host, bootId, pidNamespace, pid, startedAt }
  } catch {
    return undefined
  }
}

function refusal(stateDirectory: string, holder: LockHolder | undefined): NodeUnavailableError {
  const who = holder === undefined ? 'another node' : `a node on ${holder.host} (pid ${holder.pid})`
  return new NodeUnavailableError(
    `${who} uses the state folder ${stateDirectory}, and two nodes with one key would be the same node: stop that one, or set SHOAL_STATE_DIR to a folder of this node's own`,
    { retryable: false, details: { stateDirectory, ...holder } },
  )
}

/** This process. */
export function thisProcess(): LockHolder {
  return {
    host: os.hostname(),
    bootId: tell(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()),
    pidNamespace: tell(() => readlinkSync('/proc/self/ns/pid')),
    pid: process.pid,
    startedAt: startOf(process.pid),
  }
}

/** In ticks since the start of the system. */
function startOf(pid: number): string {
  // The name of the program, which may have spaces, ends with the last parenthesis.
  return tell(() => readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ')[19] ?? '')
}

/** '' on systems other than Linux. */
function tell(ask: () => string): string {
  try {
    return ask()
  } catch {
    return ''
  }
}
