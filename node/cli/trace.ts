import type { EventReport, LiveTaskReport, NodeAnswer, NodeTasks, TaskReport } from '../../protocols/admin.ts'
import type { NodeId } from '../../protocols/ids.ts'

/** A task that has ended, or still runs. */
export type TracedRun = Omit<TaskReport, 'state'> & { readonly state: TaskReport['state'] | 'running' }

/** What one node remembers. */
export interface NodeRecords {
  readonly node: NodeId
  readonly name: string
  readonly runs: readonly TracedRun[]
  readonly events: readonly EventReport[]
}

interface Common {
  /** The node. */
  pid: number
  /** One of a worker's lanes. */
  tid: number
  name: string
}

/** An event of Chrome's trace format, of the kinds that are used here. Times are in microseconds. */
export type TraceEvent =
  | (Common & { ph: 'M'; args: { name: string } | { sort_index: number } })
  | (Common & { ph: 'X'; cat: string; ts: number; dur: number; cname?: string; args: Record<string, unknown> })
  | (Common & { ph: 'i'; cat: string; ts: number; s: 'p' | 't'; args: Record<string, unknown> })

export interface Trace {
  readonly displayTimeUnit: 'ms'
  /** The wall clock at time 0. */
  readonly otherData: { readonly beganAt: string }
  readonly traceEvents: readonly TraceEvent[]
}

/** The lane of what happens to a node as a whole. */
const nodeLane = 0
const badNews = 'terrible'

/**
 * The records of several nodes as a trace: a process for each node, a thread for each worker, a slice for each task. Tasks of
 * one worker that overlap without one enclosing the other get lanes of their own, since slices of a thread are nested.
 */
export function traceOf(nodes: readonly NodeRecords[]): Trace {
  const starts = nodes.flatMap(({ runs, events }) => [
    ...runs.map(({ startMs }) => startMs),
    ...events.map(({ atMs }) => atMs),
  ])
  const beganMs = starts.reduce((least, each) => Math.min(least, each), starts[0] ?? 0)
  const micros = (ms: number): number => Math.round((ms - beganMs) * 1000)
  const traceEvents = nodes.flatMap((records, at) => nodeEvents(records, at + 1, micros))
  return { displayTimeUnit: 'ms', otherData: { beganAt: new Date(beganMs).toISOString() }, traceEvents }
}

function nodeEvents(
  { node, name, runs, events }: NodeRecords,
  pid: number,
  micros: (ms: number) => number,
): TraceEvent[] {
  const made: TraceEvent[] = [
    { ph: 'M', name: 'process_name', pid, tid: nodeLane, args: { name: `node ${name} (${node})` } },
    { ph: 'M', name: 'process_sort_index', pid, tid: nodeLane, args: { sort_index: pid } },
    { ph: 'M', name: 'thread_name', pid, tid: nodeLane, args: { name: 'node' } },
  ]
  let lanes = nodeLane
  for (const [worker, ofWorker] of byWorker(runs, node)) {
    for (const [number, lane] of lanesOf(ofWorker).entries()) {
      const tid = ++lanes
      const title = number === 0 ? `worker ${worker}` : `worker ${worker} (${number + 1})`
      made.push({ ph: 'M', name: 'thread_name', pid, tid, args: { name: title } })
      made.push({ ph: 'M', name: 'thread_sort_index', pid, tid, args: { sort_index: tid } })
      for (const run of lane) made.push(slice(run, pid, tid, micros))
    }
  }
  for (const run of runs) if (!hasRunOn(run, node)) made.push(unrun(run, pid, micros))
  for (const { atMs, kind, level, text, pid: process, about } of events) {
    const args = {
      level,
      ...(process === undefined ? {} : { pid: process }),
      ...(about === undefined ? {} : { about }),
    }
    made.push({ ph: 'i', s: 'p', cat: kind, name: text, pid, tid: nodeLane, ts: micros(atMs), args })
  }
  return made
}

function hasRunOn(run: TracedRun, node: NodeId): run is TracedRun & { pid: number } {
  return run.node === node && run.pid !== undefined && !isOwners(run)
}

/** What only its owner tells of has no times of its own. */
function isOwners({ state, busyMs }: TracedRun): boolean {
  return state !== 'finished' && busyMs === 0
}

function byWorker(runs: readonly TracedRun[], node: NodeId): Map<number, TracedRun[]> {
  const found = new Map<number, TracedRun[]>()
  for (const run of runs) {
    if (!hasRunOn(run, node)) continue
    const ofWorker = found.get(run.pid)
    if (ofWorker === undefined) found.set(run.pid, [run])
    else ofWorker.push(run)
  }
  return found
}

/** Distributes runs so that in each lane they follow each other or enclose each other. */
function lanesOf(runs: readonly TracedRun[]): TracedRun[][] {
  const lanes: { runs: TracedRun[]; open: TracedRun[] }[] = []
  for (const run of runs.toSorted((a, b) => a.startMs - b.startMs || b.endMs - a.endMs)) {
    const lane = lanes.find(({ open }) => {
      while ((open.at(-1)?.endMs ?? Infinity) <= run.startMs) open.pop()
      return run.endMs <= (open.at(-1)?.endMs ?? Infinity)
    })
    if (lane === undefined) lanes.push({ runs: [run], open: [run] })
    else {
      lane.runs.push(run)
      lane.open.push(run)
    }
  }
  return lanes.map((lane) => lane.runs)
}

function argsOf({ id, job, attempt, state, code, count, busyMs }: TracedRun): Record<string, unknown> {
  return {
    id,
    owner: id.slice(0, 32),
    job,
    attempt,
    status: state,
    ...(code === undefined ? {} : { error: code }),
    ...(count === 1 ? {} : { count }),
    busyMs,
  }
}

function slice(run: TracedRun, pid: number, tid: number, micros: (ms: number) => number): TraceEvent {
  const ts = micros(run.startMs)
  return {
    ph: 'X',
    cat: 'task',
    name: run.count === 1 ? run.name : `${run.name} × ${run.count}`,
    pid,
    tid,
    ts,
    dur: Math.max(0, micros(run.endMs) - ts),
    ...(run.state === 'failed' ? { cname: badNews } : {}),
    args: argsOf(run),
  }
}

/** A task that its owner has given up: it has no slice of its own. */
function unrun(run: TracedRun, pid: number, micros: (ms: number) => number): TraceEvent {
  const name = `${run.name}: ${run.code ?? run.state}`
  const where = run.node === undefined ? {} : { node: run.node, worker: run.pid }
  return {
    ph: 'i',
    s: 'p',
    cat: 'task',
    name,
    pid,
    tid: nodeLane,
    ts: micros(run.endMs),
    args: { ...argsOf(run), ...where },
  }
}

/** Tasks that run now, by the node that they run on: as far as it is known on which worker. */
export function runningNow(answers: readonly NodeAnswer<NodeTasks>[], nowMs: number): Map<NodeId, TracedRun[]> {
  const running = answers.flatMap(({ value }) => value?.live ?? []).flatMap((task) => runOf(task, nowMs))
  return Map.groupBy(running, ({ node = '' }) => node)
}

function runOf({ id, name, job, attempt, state, node, pid, forMs }: LiveTaskReport, nowMs: number): TracedRun[] {
  if (state !== 'running' || node === undefined || pid === undefined) return []
  const times = { startMs: nowMs - forMs, endMs: nowMs, busyMs: forMs }
  return [{ id, name, job, attempt, state, node, pid, ...times, count: 1 }]
}
