import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { NodeDiedError } from '../../../protocols/errors.ts'
import type { ClientId } from '../../../protocols/ids.ts'
import type { MessageBody } from '../../../protocols/messages.ts'
import type { GroupId } from '../../../protocols/placement-groups.ts'
import type { NodeConnection } from '../../../sdk/client/node-connection.ts'
import { GroupCalls } from '../../../sdk/runtime/group-calls.ts'

const self: ClientId = 'aa'.repeat(16)

/** Placement groups of a process whose node says what the test wants. */
class Program {
  readonly sent: string[] = []
  readonly calls: GroupCalls
  #sequence = 1

  constructor() {
    const welcome = { clientId: self } as NodeConnection['welcome']
    this.calls = new GroupCalls({
      connection: { welcome, send: (name) => void this.sent.push(name) },
      job: () => self,
      takeSequence: () => this.#sequence++,
      returnIdle: () => undefined,
    })
  }

  create(): GroupId {
    return this.calls.create({ name: '', strategy: 'PACK', bundles: [{ resources: { CPU: 1 }, labels: {} }] })
  }

  said(group: GroupId, state: MessageBody<'groupState'>['state']): void {
    const body = { group, state, reason: '', nodes: [] }
    this.calls.handlers().groupState?.(body)
  }
}

describe('placement groups of a process', () => {
  test('a group is counted until it is removed, and asked about as any other afterwards', async () => {
    const program = new Program()
    const { calls, sent } = program
    const group = program.create()
    program.create()
    const removed = calls.remove(group)
    program.said(group, 'removed')
    await removed
    assert.equal(calls.ownCount, 1)
    const again = calls.remove(group)
    program.said(group, 'removed')
    await again
    assert.equal(calls.ownCount, 1)
    const abort = new AbortController()
    const asked = calls.until(group, () => false, abort.signal)
    abort.abort(new Error('enough'))
    await assert.rejects(asked, /enough/)
    assert.deepEqual(sent, [
      ...['groupCreate', 'groupCreate', 'groupRemove'],
      ...['groupWatch', 'groupRemove'],
      ...['groupWatch', 'groupWatch'],
    ])
    assert.equal(calls.ownCount, 1)
  })

  test('when the node is gone, what waits fails, and so does what is asked later', async () => {
    const program = new Program()
    const { calls, sent } = program
    const group = program.create()
    const never = (): boolean => false
    const died = new NodeDiedError('the node is gone')
    const waiting = assert.rejects(calls.until(group, never), died)
    calls.failAll(died)
    await waiting
    await assert.rejects(calls.until(group, never), died)
    await assert.rejects(calls.remove(group), died)
    assert.equal(sent.filter((name) => name === 'groupWatch').length, 0)
  })
})
