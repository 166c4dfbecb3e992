import { availableParallelism } from 'node:os'
import { init, shutdown } from '../../sdk/index.ts'
import { foldCount, foldDigits } from './cross-validation.ts'
import { loadDigits } from './digits.ts'
import { Progress, showAccuracy, showCandidate } from './progress.ts'
import { drawCandidates } from './search-space.ts'
import { search, type FoldRun, type Scored } from './search.ts'
import { seededRandom } from './seeded-random.ts'
import { timeSingleProcess, type SingleProcessTime } from './single-process.ts'

export interface DemoOptions {
  candidates: number
  seed: number
  compare: 'sample' | 'all' | 'none'
  json?: boolean
}

/** A fifth of the folds gives the speed-up to a few per cent. */
const sampleShare = 5
const sampleSizeMin = 20

/** Runs the search from start to end and tells what it found. */
export async function runDemo(options: DemoOptions): Promise<void> {
  const random = seededRandom(options.seed)
  const digits = foldDigits(await loadDigits(), random)
  const candidates = drawCandidates(options.candidates, random)
  const output = options.json === true ? process.stderr : process.stdout
  const say = (text: string): void => void output.write(`${text}\n`)

  const startedAt = performance.now()
  const context = await init()
  try {
    const startMs = performance.now() - startedAt
    const place = context.isEmbedded ? 'a node of its own' : `the node at ${context.address}`
    say(
      `${digits.labels.length} digits, ${candidates.length} candidates, ${foldCount} folds each: ${candidates.length * foldCount} tasks`,
    )
    say(`on ${place}, ready after ${showSeconds(startMs)}; seed ${options.seed}`)
    const progress = new Progress(output)
    const { runs, scored, elapsedMs } = await search(digits, candidates, {
      onFold: (done, total) => progress.onFold(done, total),
      onCandidate: (candidate) => progress.onCandidate(candidate),
    }).finally(() => progress.end())

    const [best] = scored as [Scored, ...Scored[]]
    say(`\nbest       ${showCandidate(best.candidate)}`)
    say(`accuracy   ${showAccuracy(best.accuracy)}, the mean of ${foldCount} folds`)
    say(`time       ${showSeconds(elapsedMs)} for ${runs.length} tasks on ${whereOf(runs)}`)

    let single: SingleProcessTime | undefined
    if (options.compare !== 'none') {
      const part = Math.max(sampleSizeMin, Math.ceil(runs.length / sampleShare))
      const count = options.compare === 'all' ? runs.length : Math.min(runs.length, part)
      say(`           now ${count} of the same folds in this process alone, to compare`)
      single = timeSingleProcess(digits, runs, count, random)
      say(`speed-up   ${(single.elapsedMs / elapsedMs).toFixed(2)} times: ${describeSingle(single, runs.length)}`)
    }
    if (options.json === true) {
      const result = {
        seed: options.seed,
        best: { ...best.candidate, accuracy: best.accuracy },
        scored,
        tasks: runs.length,
        nodes: new Set(runs.map(({ node }) => node)).size,
        startMs,
        elapsedMs,
        singleProcessMs: single?.elapsedMs ?? null,
        singleProcessFoldsMeasured: single?.measured ?? 0,
        speedUp: single === undefined ? null : single.elapsedMs / elapsedMs,
      }
      process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
    }
  } finally {
    await shutdown()
  }
}

/** On one node what it has, on several how many tasks each of them ran. */
function whereOf(runs: readonly FoldRun[]): string {
  const counts = [...Map.groupBy(runs, ({ node }) => node).values()].map(({ length }) => length)
  if (counts.length === 1) return `${availableParallelism()} CPUs`
  return `${counts.length} nodes: ${counts.toSorted((a, b) => b - a).join(', ')}`
}

function describeSingle({ elapsedMs, measured }: SingleProcessTime, total: number): string {
  if (measured === total) return `one process took ${showSeconds(elapsedMs)} for all ${total} folds`
  return `one process would take ${showSeconds(elapsedMs)}, estimated from ${measured} of the ${total} folds`
}

function showSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
