import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runChaos } from '../../scripts/chaos/chaos.ts'
import { canMakeNetworks } from '../support/network-lab.ts'

const skip = canMakeNetworks() ? false : 'needs the right to make network namespaces'

test(
  'a minute of chaos: every result is right, or an error that its options allow, and nothing is left',
  { skip },
  async (t) => {
    const say = (text: string): void => t.diagnostic(text)
    const report = await runChaos({ minutes: 1, seconds: 0, nodes: 5, seed: 7, every: 5, json: false, say })
    assert.deepEqual(report.problems, [])
    assert.ok(Object.values(report.troubles).reduce((a, b) => a + b, 0) >= 5, 'there was next to no trouble')
    for (const kind of ['tasks', 'objects', 'streams', 'retried calls', 'calls made once']) {
      assert.ok((report.right[kind] ?? 0) > 0, `no result of ${kind}`)
    }
  },
)
