import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { objectId } from '../../../protocols/ids.ts'
import { CallIntake } from '../../../sdk/worker/call-intake.ts'

const [caller, other] = ['0a'.repeat(16), '0b'.repeat(16)] as const
const [handle, alias] = [objectId(caller, 1), objectId(caller, 2)] as const

describe('CallIntake', () => {
  test('a call that comes twice is new once', () => {
    const intake = new CallIntake()
    assert.ok(intake.isNew(caller, handle, { sequence: 5, attempt: 0 }))
    assert.ok(!intake.isNew(caller, handle, { sequence: 5, attempt: 0 }))
    assert.ok(intake.isNew(other, handle, { sequence: 5, attempt: 0 }))
  })

  test('one that is made again is new, once for each try', () => {
    const intake = new CallIntake()
    for (const attempt of [0, 1, 2]) {
      assert.ok(intake.isNew(caller, handle, { sequence: 5, attempt }))
      assert.ok(!intake.isNew(caller, handle, { sequence: 5, attempt }))
    }
    assert.ok(!intake.isNew(caller, handle, { sequence: 5, attempt: 1 }))
  })

  test('calls of two handles of one caller may overtake each other', () => {
    const intake = new CallIntake()
    assert.ok(intake.isNew(caller, alias, { sequence: 22, attempt: 0 }))
    assert.ok(intake.isNew(caller, handle, { sequence: 21, attempt: 0 }))
    assert.ok(!intake.isNew(caller, handle, { sequence: 21, attempt: 0 }))
  })

  test('a caller that is gone is forgotten', () => {
    const intake = new CallIntake()
    intake.isNew(caller, handle, { sequence: 5, attempt: 0 })
    intake.forget((each) => each === caller)
    assert.ok(intake.isNew(caller, handle, { sequence: 5, attempt: 0 }))
  })
})
