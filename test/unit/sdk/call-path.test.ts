import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CallPath, callsAfterMix, callsAloneMin } from '../../../sdk/actors/call-path.ts'

const plain = { isPlain: true, hasLine: true, underWay: 0 }

describe('CallPath', () => {
  test('a line is asked for once, after some calls one at a time', () => {
    const path = new CallPath()
    const asked: number[] = []
    for (let call = 1; call <= callsAloneMin * 3; call++) {
      path.choose({ ...plain, hasLine: false })
      if (path.wantsLine) asked.push(call)
    }
    assert.deepEqual(asked, [callsAloneMin])
  })

  test('calls of which many are under way want no line', () => {
    const path = new CallPath()
    for (let underWay = 0; underWay < 1000; underWay++) {
      assert.equal(path.choose({ ...plain, hasLine: false, underWay }), 'node')
      assert.equal(path.wantsLine, false)
    }
  })

  test('the way changes only when nothing is under way', () => {
    const path = new CallPath()
    assert.equal(path.choose({ ...plain, hasLine: false }), 'node')
    assert.equal(path.choose({ ...plain, underWay: 1 }), 'node')
    assert.equal(path.choose(plain), 'direct')
    assert.equal(path.choose({ ...plain, underWay: 1 }), 'direct')
    assert.equal(path.choose({ ...plain, hasLine: false, underWay: 2 }), undefined)
    assert.equal(path.isDirect, true)
    assert.equal(path.choose({ ...plain, hasLine: false }), 'node')
    assert.equal(path.isDirect, false)
  })

  test('what brings refs along goes through the node, and waits for what is on the line; then the line rests for a while', () => {
    const path = new CallPath()
    assert.equal(path.choose({ ...plain, isPlain: false }), 'node')
    assert.equal(path.choose(plain), 'direct')
    assert.equal(path.choose({ ...plain, isPlain: false, underWay: 1 }), undefined)
    assert.equal(path.choose({ ...plain, isPlain: false }), 'node')
    for (let call = 1; call < callsAfterMix - 1; call++) assert.equal(path.choose(plain), 'node')
    assert.equal(path.choose(plain), 'direct')
  })

  test('one at a time, both ways take turns without a rest', () => {
    const path = new CallPath()
    for (let call = 0; call < 10; call++) {
      assert.equal(path.choose(plain), 'direct')
      assert.equal(path.choose({ ...plain, isPlain: false }), 'node')
    }
  })
})
