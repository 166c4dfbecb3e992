import { glob } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { runProgram } from './run-program.ts'

interface Step {
  name: string
  /** What is checked, as the heading says it. */
  title: string
  command: readonly string[]
  /** Test files that the command is given, as patterns. A step without any is passed over. */
  tests?: readonly string[]
}

const root = fileURLToPath(new URL('..', import.meta.url))

/** In the order of their cost, so that a slip shows within seconds. */
const steps: readonly Step[] = [
  { name: 'types', title: 'types, and the type tests of the public API', command: ['tsc', '--project', '.'] },
  { name: 'lint', title: 'lint, with types', command: ['oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'format', title: 'format', command: ['oxfmt', '--check'] },
  { name: 'dead', title: 'dead code: unused files, exports and dependencies', command: ['knip', '--no-progress'] },
  {
    name: 'unit',
    title: 'unit, compliance and simulation tests',
    // By itself the runner leaves one core free, which of two is half.
    command: ['node', '--test', '--test-concurrency=2', '--test-timeout=180000'],
    tests: ['test/unit/**/*.test.ts', 'test/compliance/**/*.test.ts', 'test/sim/**/*.test.ts'],
  },
  {
    name: 'e2e',
    // Each file starts nodes and workers of its own: more than two at once only makes them wait for one another.
    title: 'end-to-end tests',
    command: ['node', '--test', '--test-concurrency=2', '--test-timeout=180000'],
    tests: ['test/e2e/**/*.test.ts'],
  },
  {
    name: 'chaos',
    // Alone: it keeps all cores busy, and other tests tell who is head while little else goes on.
    title: 'a minute of chaos',
    command: ['node', '--test', '--test-timeout=400000'],
    tests: ['test/chaos/**/*.test.ts'],
  },
]

export const stepNames: readonly string[] = steps.map((step) => step.name)

/**
 * Runs the checks in order and returns the exit code: 0, or that of the first step that failed, which ends the run. A
 * test run's own summary is the last thing printed.
 */
export async function check(only: readonly string[] = []): Promise<number> {
  const unknown = only.find((name) => !stepNames.includes(name))
  if (unknown !== undefined) {
    console.error(`there is no step ${JSON.stringify(unknown)}; the steps are ${stepNames.join(', ')}`)
    return 2
  }
  const wanted = only.length === 0 ? steps : steps.filter((step) => only.includes(step.name))
  for (const [i, step] of wanted.entries()) {
    const files = await Array.fromAsync(glob([...(step.tests ?? [])], { cwd: root }))
    console.log(`\n── ${step.title} ${'─'.repeat(Math.max(3, 90 - step.title.length))}`)
    if (step.tests !== undefined && files.length === 0) {
      console.log('there are no such tests')
      continue
    }
    const startedAt = performance.now()
    const code = await runProgram([...step.command, ...files.toSorted()], { cwd: root })
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
    // A test run that ends the output ends it with the runner's own lines.
    const isLast = code !== 0 || i === wanted.length - 1
    if (!isLast || step.tests === undefined) {
      console.log(code === 0 ? `ok, ${seconds} s` : `failed after ${seconds} s; alone: npm test -- ${step.name}`)
    }
    if (code !== 0) return code
  }
  return 0
}
