import type { LiveTaskReport, NodeAnswer, NodeTasks, ProcessReport, TaskReport } from '../../protocols/admin.ts'
import { formatDuration } from './format-status.ts'
import { clean, plural } from './format-text.ts'
import { styled, type Style } from './style.ts'
import { formatTable } from './table.ts'

export type ListedTask = (LiveTaskReport | TaskReport) & { readonly jobName: string; readonly nodeName?: string }

/** The tasks of a mesh in one list. */
export interface TaskList {
  /** Running ones first, then those that wait, then the ended ones, the last to end last. */
  readonly tasks: readonly ListedTask[]
  /** Tasks that have not ended, besides those. */
  readonly more: number
  /** Ended ones that were never recorded. */
  readonly left: number
  /** Programs that are too busy to say what their tasks do. */
  readonly silent: readonly ProcessReport[]
  readonly problems: readonly { readonly name: string; readonly problem: string }[]
}

const order = { running: 0, queued: 1, waiting: 2, finished: 3, failed: 3, cancelled: 3 }

export interface ListOptions {
  /** Of the ended tasks of all nodes, the last so many. */
  limit: number
  /** Only those with this in their name, or with this id or the beginning of it. */
  only?: string | undefined
}

/** Puts together what the nodes say. */
export function listTasks(answers: readonly NodeAnswer<NodeTasks>[], { limit, only }: ListOptions): TaskList {
  const names = new Map(answers.map(({ node, name }) => [node, name]))
  const values = answers.flatMap(({ value }) => (value === undefined ? [] : [value]))
  const programs = new Map(values.flatMap(({ drivers }) => drivers.map((driver) => [driver.client, driver])))
  const isMeant = ({ id, name }: { id: string; name: string }): boolean =>
    only === undefined || name.includes(only) || id.startsWith(only)
  const ended = endedOnce(values.flatMap((value) => value.ended)).filter(isMeant)
  const isOver = new Set(ended.map(runKey))
  const live = values
    .flatMap((value) => value.live)
    .filter((task) => isMeant(task) && !isOver.has(runKey(task)))
    .toSorted((a, b) => order[a.state] - order[b.state] || b.forMs - a.forMs)
  const listed = <T extends LiveTaskReport | TaskReport>(task: T): T & { jobName: string; nodeName?: string } => {
    const nodeName = task.node === undefined ? undefined : (names.get(task.node) ?? task.node)
    return { ...task, jobName: jobName(task.job, programs), ...(nodeName === undefined ? {} : { nodeName }) }
  }
  return {
    tasks: [...live, ...ended.toSorted((a, b) => a.endMs - b.endMs).slice(-limit)].map(listed),
    more: values.reduce((sum, { more }) => sum + more, 0),
    left: values.reduce((sum, { left }) => sum + left, 0),
    silent: values.flatMap(({ silent }) => silent),
    problems: answers.flatMap(({ name, problem }) => (problem === undefined ? [] : [{ name, problem }])),
  }
}

/** What its worker says of the end of a task counts more than what its owner does, who may not have waited for it. */
function endedOnce(reports: readonly TaskReport[]): TaskReport[] {
  const byKey = new Map<string, TaskReport>()
  for (const report of reports) {
    const known = byKey.get(runKey(report))
    if (known === undefined || known.busyMs === 0) byKey.set(runKey(report), report)
  }
  return [...byKey.values()]
}

function runKey({ id, attempt }: { id: string; attempt: number }): string {
  return `${id} ${attempt}`
}

/** A driver by its process and its file; one that has ended by its id. */
function jobName(job: string, programs: ReadonlyMap<string, ProcessReport>): string {
  const driver = programs.get(job)
  if (driver === undefined) return `ended (${job.slice(-8)})`
  const file = driver.program.split(/[\\/]/).at(-1) ?? ''
  return file === '' ? `pid ${driver.pid}` : `${file} (pid ${driver.pid})`
}

const styles: Partial<Record<ListedTask['state'], Style>> = { running: 'green', failed: 'red', cancelled: 'yellow' }

/** For people to read. */
export function formatTasks(list: TaskList): string {
  const { tasks, more, left, silent, problems } = list
  const rows = tasks.map((task) => {
    const { id, name, state, nodeName = '-', pid, jobName: job, attempt } = task
    const style = styles[state]
    return [
      id,
      countOf(task) === 1 ? clean(name) : `${clean(name)} × ${countOf(task)}`,
      style === undefined ? state : styled(style, state),
      clean(nodeName),
      pid === undefined ? '-' : String(pid),
      clean(job),
      timeOf(task),
      String(attempt + 1),
      'code' in task && task.code !== undefined ? clean(task.code) : '',
    ]
  })
  const lines = [
    rows.length === 0
      ? 'No tasks.'
      : formatTable(['TASK', 'NAME', 'STATE', 'NODE', 'PID', 'JOB', 'TIME', 'TRY', 'ERROR'], rows),
  ]
  if (tasks.some((task) => countOf(task) > 1)) {
    lines.push(
      'A line with × stands for so many short tasks, of which the first has this id; its time is theirs together.',
    )
  }
  if (more > 0) lines.push(`and ${plural(more, 'task')} more that wait or run`)
  if (left > 0) lines.push(`${plural(left, 'ended task')} not recorded: there were too many at a time`)
  if (silent.length > 0) {
    lines.push(`Busy, so that their tasks are not known: ${silent.map(({ role, pid }) => `${role} ${pid}`).join(', ')}`)
  }
  for (const { name, problem } of problems)
    lines.push(styled('yellow', `${clean(name)} does not say: ${clean(problem)}`))
  return lines.join('\n')
}

function countOf(task: ListedTask): number {
  return 'count' in task ? task.count : 1
}

function timeOf(task: ListedTask): string {
  if ('forMs' in task) return formatDuration(task.forMs)
  const ms = task.count > 1 ? task.busyMs : task.endMs - task.startMs
  return ms < 10 ? `${Math.max(0, ms).toFixed(2)}ms` : formatDuration(ms)
}
