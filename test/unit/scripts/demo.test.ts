import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { foldCount, foldDigits, splitFold } from '../../../scripts/demo/cross-validation.ts'
import { loadDigits, parseDigits } from '../../../scripts/demo/digits.ts'
import { Progress } from '../../../scripts/demo/progress.ts'
import { candidatesMax, drawCandidates, logSpace } from '../../../scripts/demo/search-space.ts'
import { seededRandom, shuffled } from '../../../scripts/demo/seeded-random.ts'
import { timeSingleProcess } from '../../../scripts/demo/single-process.ts'
import { balancedWeights, evaluateFold } from '../../../scripts/demo/svm.ts'

const good = { C: 10, gamma: 0.001, tol: 0.001, classWeight: 'balanced' } as const

describe('digits', () => {
  test('all rows of the file are read', async () => {
    const digits = await loadDigits()
    assert.equal(digits.labels.length, 1797)
    assert.equal(digits.featureCount, 64)
    assert.equal(digits.features.length, 1797 * 64)
    assert.ok(digits.features.every((value) => Number.isInteger(value) && value >= 0 && value <= 16))
    assert.deepEqual(new Set(digits.labels), new Set([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
  })

  test('a damaged line is refused with its number', () => {
    assert.throws(() => parseDigits('1,2,3\n1,2\n'), /line 2 .* not 3 numbers/)
    assert.throws(() => parseDigits('1,2,3\n1,x,3\n'), /line 2/)
  })
})

describe('search space', () => {
  test('grids go from end to end by equal steps of the exponent', () => {
    assert.deepEqual(logSpace(-1, 1, 3), [0.1, 1, 10])
    assert.equal(logSpace(-6, 6, 30).length, 30)
    assert.equal(logSpace(-6, 6, 30)[0], 1e-6)
    assert.equal(logSpace(-6, 6, 30).at(-1), 1e6)
  })

  test('the same seed draws the same candidates, all different', () => {
    const draw = (seed: number): string[] => drawCandidates(300, seededRandom(seed)).map((each) => JSON.stringify(each))
    assert.deepEqual(draw(7), draw(7))
    assert.notDeepEqual(draw(7), draw(8))
    assert.equal(new Set(draw(7)).size, 300)
    assert.throws(() => drawCandidates(candidatesMax + 1, seededRandom(1)), /only 54000 candidates/)
  })

  test('random numbers are spread over [0, 1)', () => {
    const random = seededRandom(1)
    const tenths = Array.from({ length: 10 }, () => 0)
    for (let i = 0; i < 10_000; i++) {
      const tenth = Math.floor(random() * 10)
      tenths[tenth] = (tenths[tenth] ?? 0) + 1
    }
    assert.ok(
      tenths.every((count) => count > 850 && count < 1150),
      String(tenths),
    )
    assert.deepEqual(shuffled(['a', 'b', 'c'], random).toSorted(), ['a', 'b', 'c'])
  })
})

describe('cross-validation', () => {
  test('folds share out every digit evenly and cover all images once', async () => {
    const digits = foldDigits(await loadDigits(), seededRandom(1))
    let tested = 0
    for (let fold = 0; fold < foldCount; fold++) {
      const { training, testing } = splitFold(digits, fold)
      assert.equal(training.labels.length + testing.labels.length, 1797)
      tested += testing.labels.length
      for (let digit = 0; digit < 10; digit++) {
        const count = testing.labels.filter((label) => label === digit).length
        assert.ok(count >= 34 && count <= 38, `fold ${fold} has ${count} of digit ${digit}`)
      }
    }
    assert.equal(tested, 1797)
  })

  test('balanced weights make rare classes heavier', () => {
    assert.deepEqual(balancedWeights([0, 0, 0, 1]), { 0: 0.66667, 1: 2 })
  })

  test('the support vector machine learns the digits, the same way each time', async () => {
    const digits = foldDigits(await loadDigits(), seededRandom(1))
    const { accuracy } = evaluateFold(digits, good, 0)
    assert.ok(accuracy > 0.97, `accuracy ${accuracy}`)
    assert.equal(evaluateFold(digits, good, 0).accuracy, accuracy)
  })

  test('options of the greatest length are understood', async () => {
    const digits = foldDigits(await loadDigits(), seededRandom(1))
    const candidate = { C: 0.000123456, gamma: 0.00000123456, tol: 0.000123456, classWeight: 'balanced' } as const
    assert.ok(evaluateFold(digits, candidate, 0).accuracy >= 0)
  })
})

describe('comparison with one process', () => {
  test('a sample is scaled by what the folds took on the workers', async () => {
    const digits = foldDigits(await loadDigits(), seededRandom(1))
    const { accuracy } = evaluateFold(digits, good, 0)
    const run = { candidate: good, fold: 0, node: '', accuracy, elapsedMs: 100 }
    const whole = timeSingleProcess(digits, [run], 1, seededRandom(1))
    assert.equal(whole.measured, 1)
    assert.throws(
      () => timeSingleProcess(digits, [{ ...run, accuracy: 0.5 }], 1, seededRandom(1)),
      /one of them is wrong/,
    )
    assert.throws(() => timeSingleProcess(digits, [], 1, seededRandom(1)), /no folds/)
  })
})

describe('progress', () => {
  const scored = (accuracy: number): { candidate: typeof good; accuracy: number } => ({ candidate: good, accuracy })

  test('elsewhere than on a terminal there is one line for each candidate', () => {
    const lines: string[] = []
    const progress = new Progress({ write: (text) => lines.push(text) })
    progress.onFold(5, 10)
    progress.onCandidate(scored(0.9))
    progress.onFold(10, 10)
    progress.onCandidate(scored(0.8))
    progress.end()
    assert.deepEqual(lines, [
      '    1/2  90.00 %  C=10.0 gamma=0.00100 tol=0.00100 classWeight=balanced  best so far\n',
      '    2/2  80.00 %  C=10.0 gamma=0.00100 tol=0.00100 classWeight=balanced\n',
    ])
  })

  test('on a terminal one line is drawn again, never wider than it', () => {
    const writes: string[] = []
    const progress = new Progress({ write: (text) => writes.push(text), isTTY: true, columns: 50 })
    progress.onCandidate(scored(0.9))
    progress.onFold(5, 10)
    progress.end()
    assert.equal(writes.at(-1), '\n')
    const drawn = writes[0]?.replace('\r\u001B[2K', '') ?? ''
    assert.equal(drawn.length, 49)
    assert.match(drawn, /5\/10 folds/)
  })
})
