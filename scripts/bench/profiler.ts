import { writeFile } from 'node:fs/promises'
import { Session, type Profiler } from 'node:inspector/promises'
import { join } from 'node:path'

const linesShown = 15

/** Runs the work under V8's sampling profiler, writes `<name>.cpuprofile` and prints where this process's time went. */
export async function profile<T>(name: string, folder: string, work: () => Promise<T>): Promise<T> {
  const session = new Session()
  session.connect()
  try {
    await session.post('Profiler.enable')
    await session.post('Profiler.setSamplingInterval', { interval: 200 })
    await session.post('Profiler.start')
    const result = await work()
    const { profile: found } = await session.post('Profiler.stop')
    const file = join(folder, `${name.replaceAll(/[^a-z0-9]+/gi, '-').replaceAll(/^-|-$/g, '')}.cpuprofile`)
    await writeFile(file, JSON.stringify(found))
    const rows = selfTimes(found).slice(0, linesShown)
    console.error(`\nwhere the driver's time went in "${name}" (all of it: ${file})`)
    for (const { share, where } of rows) console.error(`${(share * 100).toFixed(1).padStart(6)} %  ${where}`)
    return result
  } finally {
    session.disconnect()
  }
}

interface SelfTime {
  where: string
  /** Of all samples. */
  share: number
}

/** How often each function was the one at work, the busiest first. */
export function selfTimes({ nodes, samples = [] }: Profiler.Profile): SelfTime[] {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const counts = new Map<string, number>()
  for (const sample of samples) {
    const name = names.get(sample) ?? '(unknown)'
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return [...counts]
    .map(([where, count]) => ({ where, share: count / samples.length }))
    .sort((a, b) => b.share - a.share)
}

function nameOf({ functionName, url, lineNumber }: Profiler.Profile['nodes'][number]['callFrame']): string {
  const file = url.split('/').slice(-2).join('/')
  return `${functionName === '' ? '(anonymous)' : functionName}${file === '' ? '' : ` ${file}:${lineNumber + 1}`}`
}
