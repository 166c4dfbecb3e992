import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test, type TestContext } from 'node:test'
import { ElectionRunner } from '../../../node/election/election-runner.ts'
import { FenceFile } from '../../../node/election/fence-file.ts'

const ids = ['00000000000000aa', '00000000000000bb'] as const

interface Pair {
  logs: string[]
  folders: string[]
  /** Both obey one head. */
  agreed: Promise<void>
  failed: Promise<void>
}

/** Two nodes, of which the first cannot write its fence. */
function pair(t: TestContext): Pair {
  const agreed = Promise.withResolvers<void>()
  const failed = Promise.withResolvers<void>()
  const logs: string[] = []
  const folders = ids.map(() => mkdtempSync(path.join(tmpdir(), 'shoal-runner-')))
  mkdirSync(path.join(folders[0] as string, 'fence.new'))
  const runners: ElectionRunner[] = ids.map(
    (self, index) =>
      new ElectionRunner({
        self,
        rank: { kind: 0, startedAtMs: index },
        fence: new FenceFile(folders[index] as string),
        nowMs: () => performance.now(),
        random: () => index / 2,
        send: (to, message) => setImmediate(() => runners[ids.findIndex((id) => id === to)]?.onMessage(self, message)),
        report: () => Uint8Array.of(1),
        onStartActing() {},
        onStopActing() {},
        onHeadChanged() {
          const [a, b] = runners.map(({ head }) => head)
          if (a !== undefined && a === b) agreed.resolve()
        },
        onReported() {},
        log(text) {
          logs.push(text)
          failed.resolve()
        },
      }),
  )
  t.after(async () => {
    for (const runner of runners) await runner.stop()
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  })
  runners.forEach((runner, index) => runner.setPeers([ids[1 - index] as string]))
  for (const runner of runners) runner.start()
  return { logs, folders, agreed: agreed.promise, failed: failed.promise }
}

test('a fence that could not be written for a while keeps no mesh without a head', async (t) => {
  const { logs, folders, agreed, failed } = pair(t)
  await failed
  rmSync(path.join(folders[0] as string, 'fence.new'), { recursive: true })
  await agreed
  assert.equal(logs.length, 1)
  assert.match(logs[0] ?? '', /could not be written/)
})
