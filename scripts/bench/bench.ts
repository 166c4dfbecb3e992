import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { actorBenchmarks } from './actors.ts'
import type { Benchmark } from './benchmark.ts'
import { broadcastBenchmarks } from './broadcast.ts'
import { callBenchmarks } from './calls.ts'
import { machineFacts } from './machine.ts'
import { directoryBenchmark } from './directory.ts'
import { failoverBenchmark } from './failover.ts'
import { manyTasksBenchmark } from './many-tasks.ts'
import { objectBenchmarks } from './objects.ts'
import { placementGroupBenchmarks } from './placement-groups.ts'
import { profile } from './profiler.ts'
import type { BenchRun } from './result.ts'
import { remoteCallBenchmarks } from './remote-calls.ts'
import { schedulerBenchmarks } from './scheduler.ts'
import { rhythmBenchmark } from './rhythm.ts'
import { startBenchmarks } from './start.ts'
import { table } from './table.ts'
import { transferBenchmark } from './transfer.ts'

export interface BenchOptions {
  only?: string
  rounds: number
  mib: number
  nodes?: number
  json?: boolean
  against?: string
  profile?: boolean
}

/** Ends the program with a message about its options. */
type Refuse = (message: string) => never

// The memory figures come first, while this process is still small.
const benchmarks: readonly Benchmark[] = [
  manyTasksBenchmark,
  ...startBenchmarks,
  ...callBenchmarks,
  ...placementGroupBenchmarks,
  ...actorBenchmarks,
  ...objectBenchmarks,
  ...remoteCallBenchmarks,
  ...schedulerBenchmarks,
  failoverBenchmark,
  transferBenchmark,
  ...broadcastBenchmarks,
  directoryBenchmark,
  rhythmBenchmark,
]

const smallCallsNote =
  '\nget and put of small values do not leave the process that owns them; those of Ray, by the same names, reach its store.'

const busyNote =
  '\nOther work kept the machine busy when this run or the earlier one began (the load was over half of the cores): compare ' +
  'again when it is quiet.'

function isBusy({ machine }: BenchRun): boolean {
  return Number(machine['loadAtStart']) > Number(machine['cores']) / 2
}

/** Runs the benchmarks that were asked for, one after the other, and prints what they gave. */
export async function runBench(options: BenchOptions, refuse: Refuse): Promise<void> {
  const wanted = benchmarks.filter(({ name }) => name.includes(options.only ?? ''))
  if (wanted.length === 0) {
    const names = benchmarks.map(({ name }) => name).join('; ')
    refuse(`no benchmark has ${JSON.stringify(options.only)} in its name; there are: ${names}`)
  }
  const earlier = options.against === undefined ? undefined : await readRun(options.against, refuse)
  const folder = options.profile === true ? await mkdtemp(join(tmpdir(), 'shoal-bench-')) : undefined

  const { rounds, mib, nodes } = options
  const run: BenchRun = { machine: machineFacts(), rounds, results: [] }
  for (const { name, measure } of wanted) {
    console.error(`${name} …`)
    const results = await measure({
      rounds,
      mib,
      ...(nodes === undefined ? {} : { nodes }),
      profiled: (work) => (folder === undefined ? work() : profile(name, folder, work)),
    })
    run.results.push(...results)
  }
  if (options.json === true) {
    console.log(JSON.stringify(run, null, 2))
    if (earlier !== undefined) console.error(`\n${table(run.results, earlier)}`)
    return
  }
  const facts = Object.entries(run.machine).map(([name, value]) => `${name} ${value}`)
  console.log(
    `\n${facts.join(' · ')}\n${rounds === 1 ? 'one round' : `median of ${rounds} rounds (lowest … highest)`}\n`,
  )
  console.log(table(run.results, earlier))
  if (isBusy(run) || (earlier !== undefined && isBusy(earlier))) console.log(busyNote)
  if (run.results.some(({ name }) => name.endsWith('(small)'))) console.log(smallCallsNote)
}

async function readRun(file: string, refuse: Refuse): Promise<BenchRun> {
  try {
    const run = JSON.parse(await readFile(file, 'utf8')) as Partial<BenchRun>
    if (!Array.isArray(run.results)) throw new Error('it has no results')
    return run as BenchRun
  } catch (error) {
    return refuse(
      `--against: ${file} is not what \`npm run --silent bench -- --json\` writes: ${(error as Error).message}`,
    )
  }
}
