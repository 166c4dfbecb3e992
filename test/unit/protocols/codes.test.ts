import assert from 'node:assert/strict'
import { test } from 'node:test'
import { networkFrames } from '../../../node/network/network-frames.ts'
import { messages } from '../../../protocols/messages.ts'
import { peerMessages } from '../../../protocols/peer-messages.ts'

test('what a link carries is told apart by its type alone: no two tables have one in common', () => {
  const names = new Map<number, string>()
  const all = [
    ...Object.entries(messages).map(([name, { code }]) => [name, code] as const),
    ...Object.entries(peerMessages).map(([name, { code }]) => [name, code] as const),
    ...Object.entries(networkFrames).map(([name, { type }]) => [name, type] as const),
  ]
  for (const [name, code] of all) {
    assert.ok(code < 256, `${name} has the type ${code}, which does not fit into a byte`)
    assert.equal(names.get(code), undefined, `${name} has the type ${code} of ${names.get(code)}`)
    names.set(code, name)
  }
})
