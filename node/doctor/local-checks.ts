import { formatAmount } from '../../protocols/resources.ts'
import { fail, ok, warn, type Finding } from './finding.ts'
import type { LocalFacts } from './local-facts.ts'

const nodeMajorMin = 24
const openFilesLow = 1024
const openFilesGood = 4096
/** The object store takes a third of the memory by default. */
const sharedMemoryShare = 1 / 3

/** What can be said of a machine whether or not its node runs. */
export function checkLocal(facts: LocalFacts): Finding[] {
  return [checkNodeVersion(facts), checkLan(facts), checkSharedMemory(facts), checkOpenFiles(facts)]
}

function checkNodeVersion({ nodeVersion }: LocalFacts): Finding {
  const major = Number.parseInt(nodeVersion.replace(/^v/, ''), 10)
  return major >= nodeMajorMin
    ? ok('Node.js', nodeVersion)
    : fail('Node.js', nodeVersion, `install Node.js ${nodeMajorMin} or later`)
}

function checkLan({ interfaces }: LocalFacts): Finding {
  const reachable = interfaces.filter(({ address, isInternal }) => !isInternal && !/^fe80:/i.test(address))
  if (reachable.length === 0) {
    return warn(
      'network',
      'no address that other machines could reach',
      'connect the machine to a network; until then its mesh is this machine alone',
    )
  }
  return ok('network', reachable.map(({ name, address }) => `${address} (${name})`).join(', '))
}

function checkSharedMemory({ hasMemfd, sharedMemoryBytes, memoryBytes }: LocalFacts): Finding {
  const name = 'shared memory'
  if (hasMemfd) return ok(name, 'the system has it, whatever the size of /dev/shm')
  if (sharedMemoryBytes === undefined) {
    return warn(name, 'there is no /dev/shm', 'large values will lie in the runtime folder; put that on a fast disk')
  }
  const found = `/dev/shm has ${formatAmount('memory', sharedMemoryBytes)}, the machine ${formatAmount('memory', memoryBytes)}`
  if (sharedMemoryBytes >= memoryBytes * sharedMemoryShare) return ok(name, found)
  return warn(
    name,
    found,
    'the object store will be small: make it larger (`mount -o remount,size=50% /dev/shm`, in a container `--shm-size`)',
  )
}

function checkOpenFiles({ openFilesMax }: LocalFacts): Finding {
  const name = 'open files'
  if (openFilesMax === undefined) return ok(name, 'the limit is not known here')
  const found = openFilesMax === Number.POSITIVE_INFINITY ? 'no limit' : `at most ${openFilesMax} per process`
  const advice = `raise the limit before \`shoal up\`, such as with \`ulimit -n ${openFilesGood * 16}\``
  if (openFilesMax < openFilesLow) return fail(name, found, advice)
  return openFilesMax < openFilesGood ? warn(name, found, advice) : ok(name, found)
}
