import { readFileSync, statfsSync } from 'node:fs'
import os from 'node:os'
import { makeSharedMemory } from '../system/linux-memory.ts'
import { machineMemoryBytes } from '../system/machine-memory.ts'

/** What can be seen of this machine without its node. */
export interface LocalFacts {
  readonly nodeVersion: string
  readonly shoalVersion: string
  readonly interfaces: readonly InterfaceFacts[]
  readonly memoryBytes: number
  /** There is shared memory that needs no file system; the object store takes that, then. */
  readonly hasMemfd: boolean
  /** Size of the file system in memory; undefined where there is none. */
  readonly sharedMemoryBytes: number | undefined
  /** What this user's processes may have open at once; undefined where that cannot be found out. */
  readonly openFilesMax: number | undefined
}

/** One address of the machine. */
export interface InterfaceFacts {
  readonly name: string
  readonly address: string
  readonly isInternal: boolean
  readonly canMulticast: boolean
}

const probeBytes = 4096
const multicastFlag = 0x1000

/** Looks at this machine. Takes a few milliseconds. */
export async function collectLocalFacts(shoalVersion: string): Promise<LocalFacts> {
  return {
    nodeVersion: process.versions.node,
    shoalVersion,
    interfaces: interfaces(),
    memoryBytes: machineMemoryBytes(),
    hasMemfd: (await makeSharedMemory(probeBytes)) !== undefined,
    sharedMemoryBytes: sharedMemoryBytes('/dev/shm'),
    openFilesMax: parseOpenFiles(readText('/proc/self/limits')),
  }
}

function interfaces(): InterfaceFacts[] {
  return Object.entries(os.networkInterfaces()).flatMap(([name, addresses = []]) => {
    const canMulticast = hasMulticastFlag(readText(`/sys/class/net/${name}/flags`))
    return addresses.map(({ address, internal }) => ({ name, address, isInternal: internal, canMulticast }))
  })
}

/** Where the system does not say, it is taken to be as almost everywhere. */
function hasMulticastFlag(flags: string | undefined): boolean {
  return flags === undefined || (Number(flags.trim()) & multicastFlag) !== 0
}

function sharedMemoryBytes(directory: string): number | undefined {
  try {
    const { blocks, bsize } = statfsSync(directory)
    return blocks * bsize
  } catch {
    return undefined
  }
}

/** The soft limit of open files in the kernel's table of limits. */
export function parseOpenFiles(limits: string | undefined): number | undefined {
  const [, soft] = /^Max open files\s+(\d+|unlimited)/m.exec(limits ?? '') ?? []
  return soft === undefined ? undefined : soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft)
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
