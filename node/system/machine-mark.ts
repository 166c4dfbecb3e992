import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'

/** Where a process is seen from outside: two with the same facts can see each other's files in /proc. */
export interface MachineFacts {
  /** Of the running system: another one after each start. */
  readonly bootId: string
  readonly userId: number
  /** Of the network, of processes and of users. In a container some are others than outside. */
  readonly namespaces: readonly string[]
}

export const machineMarkBytes = 16
const namespaces = ['net', 'pid', 'user'] as const

/**
 * Stands for this user on this machine: who shows the same mark can open what this process has in memory. Says nothing of
 * the machine to others. '' where a system does not tell what it takes.
 */
export function machineMark(readFacts: () => MachineFacts | undefined = factsOfThisProcess): string {
  const facts = readFacts()
  if (facts === undefined || facts.bootId === '' || facts.namespaces.includes('')) return ''
  const hash = createHash('sha256').update(JSON.stringify([facts.bootId, facts.userId, facts.namespaces]))
  return hash.digest('hex').slice(0, 2 * machineMarkBytes)
}

function factsOfThisProcess(): MachineFacts | undefined {
  const userId = process.geteuid?.()
  if (process.platform !== 'linux' || userId === undefined) return undefined
  try {
    return {
      bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(),
      userId,
      namespaces: namespaces.map((each) => readlinkSync(`/proc/self/ns/${each}`)),
    }
  } catch {
    return undefined
  }
}
