import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CallPath, callsAfterFence, callsAloneMin } from '../../../sdk/actors/call-path.ts'

const nothing = { byNode: 0, direct: 0 }
const plain = { isPlain: true, line: 1, underWay: nothing }
const withRefs = { ...plain, isPlain: false }
const noLine = { ...plain, line: 0 }

describe('CallPath', () => {
  test('a line is wished for once, after some calls one at a time', () => {
    const path = new CallPath()
    const wished: number[] = []
    for (let call = 1; call <= callsAloneMin * 3; call++) {
      path.choose(noLine)
      if (path.takeWish()) wished.push(call)
    }
    assert.deepEqual(wished, [callsAloneMin])
  })

  test('after its end it is wished for again', () => {
    const path = new CallPath()
    for (let call = 0; call < callsAloneMin; call++) path.choose(noLine)
    assert.ok(path.takeWish())
    path.lineEnded()
    for (let call = 0; call < callsAloneMin; call++) path.choose(noLine)
    assert.ok(path.takeWish())
  })

  test('calls of which many are under way wish for no line', () => {
    const path = new CallPath()
    for (let byNode = 0; byNode < 1000; byNode++) {
      assert.equal(path.choose({ ...noLine, underWay: { byNode, direct: 0 } }), 'node')
      assert.equal(path.takeWish(), false)
    }
  })

  test('a line is used when nothing is under way through the node', () => {
    const path = new CallPath()
    assert.equal(path.choose({ ...plain, underWay: { byNode: 1, direct: 0 } }), 'node')
    assert.equal(path.choose(plain), 'direct')
    assert.equal(path.choose({ ...plain, underWay: { byNode: 0, direct: 1 } }), 'direct')
  })

  test('what brings refs along goes through the node: at once when nothing is on the line, else behind a fence', () => {
    const path = new CallPath()
    assert.equal(path.choose(plain), 'direct')
    assert.equal(path.choose(withRefs), 'node')
    assert.equal(path.choose(plain), 'direct')
    const underWay = { byNode: 0, direct: 1 }
    assert.equal(path.choose({ ...withRefs, underWay }), 'fence')
    assert.equal(path.choose({ ...withRefs, underWay }), 'wait')
    path.passFence()
    // What went over the line may still run.
    assert.equal(path.choose({ ...withRefs, underWay }), 'node')
  })

  test('after a fence the line rests for a while', () => {
    const path = new CallPath()
    path.choose(plain)
    path.choose({ ...withRefs, underWay: { byNode: 0, direct: 1 } })
    path.passFence()
    for (let call = 1; call < callsAfterFence; call++) assert.equal(path.choose(plain), 'node')
    assert.equal(path.choose(plain), 'direct')
  })

  test('the same line is used again although calls on it still run, another one is not', () => {
    const running = { byNode: 0, direct: 1 }
    for (const [line, way] of [
      [1, 'direct'],
      [2, 'node'],
    ] as const) {
      const path = new CallPath()
      path.choose(plain)
      path.choose({ ...withRefs, underWay: running })
      path.passFence()
      for (let call = 1; call < callsAfterFence; call++) path.choose(plain)
      assert.equal(path.choose({ ...plain, line, underWay: running }), way)
    }
  })

  test('calls on a line that has ended are waited for, though there may be a new one', () => {
    const path = new CallPath()
    path.choose(plain)
    const underWay = { byNode: 0, direct: 1 }
    path.choose({ ...withRefs, underWay })
    path.lineEnded()
    path.passFence()
    for (const line of [0, 2]) assert.equal(path.choose({ ...plain, line, underWay }), 'wait')
    assert.equal(path.choose({ ...plain, line: 2 }), 'direct')
  })
})
