import { spawn } from 'node:child_process'
import { outputMarker } from '../../node/workers/output-collector.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import { FakeClient } from './fake-client.ts'

/**
 * A worker without an SDK: it does what the names of its tasks say, and answers each with its name. Started by the node
 * under test in place of the real worker.
 */
if (process.env['FAKE_WORKER_HANGS'] !== undefined) await new Promise((resolve) => setTimeout(resolve, 60_000))
if (process.env['FAKE_WORKER_FAILS'] !== undefined) {
  process.stderr.write('fake failure at the start\n')
  process.exit(3)
}
const workerId = Number(process.env['SHOAL_WORKER_ID'])
const worker = await FakeClient.attach(String(process.env['SHOAL_SOCKET']), { role: 'worker', workerId })
void worker.closed.then(() => process.exit())
const owners = new Map<number, string>()

const marker = outputMarker(String(process.env['SHOAL_OUTPUT_TOKEN']))

worker.on('leaseStart', ({ leaseId, owner }) => owners.set(leaseId, owner))
worker.on('leaseEnd', ({ leaseId }) => owners.delete(leaseId))
worker.on('taskPush', ({ leaseId, tasks }) => {
  for (const { sequence, name } of tasks) {
    let text = name
    if (name === 'print') {
      process.stdout.write(`${marker}${JSON.stringify({ name, to: owners.get(leaseId) })}\nhello\nworld`)
      process.stderr.write(`${marker}${JSON.stringify({ name, to: owners.get(leaseId) })}\noops\n`)
    }
    if (name === 'speak') process.stderr.write('spoken without a marker\n')
    if (name === 'forge') process.stdout.write(`\u001eshoal:${JSON.stringify({ name: 'x', to: 'x' })}\nforged\n`)
    if (name === 'needed') worker.send('workerNeeded', { isNeeded: true })
    if (name === 'spawn') text = String(spawn('sleep', ['600'], { stdio: 'ignore' }).pid)
    if (name === 'environment') text = JSON.stringify(process.env)
    if (name === 'block') worker.send('leaseBlocked', { leaseId, isBlocked: true })
    const head = Buffer.from(text)
    const value: WireValue = { kind: 'inline', isError: false, format: 0, head, buffers: [], refs: [], classes: [] }
    worker.send('taskDone', { leaseId, results: [{ sequence, status: 'ok', durationUs: 1, values: [value] }] })
    // The answer of the last task must arrive although the worker dies right after it.
    if (name === 'exit') setImmediate(() => process.exit(7))
    if (name === 'throw') {
      setImmediate(() => {
        throw new RangeError('THE REASON')
      })
    }
    if (name === 'abort') setImmediate(() => process.abort())
  }
})
