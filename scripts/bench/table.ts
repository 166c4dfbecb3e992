import { isHigherBetter, median, type BenchRun, type Result } from './result.ts'

/** The results as lines of text, with the ratio to an earlier run where there is one. */
export function table(results: readonly Result[], earlier?: BenchRun): string {
  const before = new Map(earlier?.results.map((result) => [result.name, result]))
  const rows = results.map((result) => {
    const { name, unit, values } = result
    const known = before.get(name)
    const cells = [name, show(median(values)), unit, spread(values)]
    return known === undefined ? cells : [...cells, compare(result, known)]
  })
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map(([name = '', value = '', unit = '', range = '', ratio = '']) => {
      const [nameWidth = 0, valueWidth = 0, unitWidth = 0, rangeWidth = 0] = widths
      const left = `${name.padEnd(nameWidth)}  ${value.padStart(valueWidth)} ${unit.padEnd(unitWidth)}`
      return `${left}  ${range.padEnd(rangeWidth)}  ${ratio}`.trimEnd()
    })
    .join('\n')
}

/** How many times better (above 1) or worse (below 1) this is than before. */
export function ratioTo(earlier: Result, result: Result): number {
  const ratio = median(result.values) / median(earlier.values)
  return isHigherBetter(result.unit) ? ratio : 1 / ratio
}

function compare(result: Result, earlier: Result): string {
  const ratio = ratioTo(earlier, result)
  return `× ${ratio.toFixed(2)} ${verdict(result, earlier, ratio)} (was ${show(median(earlier.values))})`
}

/** Rounds that overlap with those of the earlier run, or that are too few to tell, show no difference. */
function verdict(result: Result, earlier: Result, ratio: number): string {
  const [now, before] = [result.values, earlier.values]
  if (now.length < 2 || before.length < 2) return 'too few rounds to tell'
  if (Math.min(...now) <= Math.max(...before) && Math.min(...before) <= Math.max(...now)) return 'within the spread'
  return ratio > 1 ? 'better' : 'worse'
}

function spread(values: readonly number[]): string {
  if (values.length < 2) return ''
  return `(${show(Math.min(...values))} … ${show(Math.max(...values))})`
}

function show(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2
  return value.toLocaleString('en-GB', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
