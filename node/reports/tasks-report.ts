import type { LiveTaskReport, NodeTasks } from '../../protocols/admin.ts'
import { objectId } from '../../protocols/ids.ts'
import type { Client } from '../server/client.ts'
import { processReport, type ClientAnswers, type ClientQuestions } from '../server/client-questions.ts'
import type { ClientTable } from '../server/client-table.ts'
import type { TaskBook } from './task-book.ts'

/** Of one node; more are only counted. */
const liveMax = 1000

export interface TasksReportSources {
  clients: Pick<ClientTable, 'all'>
  questions: ClientQuestions<'tasksAsk'>
  book: TaskBook
}

/** The tasks that programs of this node own and that have not ended, and the last `limit` that ended here. */
export async function tasksReport({ clients, questions, book }: TasksReportSources, limit: number): Promise<NodeTasks> {
  const answers = await questions.ask(mayHaveTasks)
  const { live, more } = liveReports(answers)
  const drivers = [...clients.all()].filter(({ role }) => role === 'driver').map(processReport)
  return { live, more, ended: book.last(limit), left: book.left, drivers, silent: answers.silent }
}

/** A worker that runs something cannot answer, and most have no tasks of their own. */
function mayHaveTasks({ role, tasks }: Client): boolean {
  return role === 'driver' || tasks.running + tasks.queued > 0
}

function liveReports({ told }: ClientAnswers<'tasksAsk'>): { live: LiveTaskReport[]; more: number } {
  const live: LiveTaskReport[] = []
  let more = 0
  for (const [client, answer] of told) {
    more += answer.more
    for (const { sequence, name, job, attempt, state, node, workerPid, forMs } of answer.tasks) {
      if (live.length >= liveMax) more += 1
      else {
        live.push({
          id: objectId(client, sequence),
          name,
          state,
          job,
          attempt,
          forMs: Number.isFinite(forMs) ? Math.max(0, forMs) : 0,
          ...(node === '' ? {} : { node }),
          ...(workerPid === 0 ? {} : { pid: workerPid }),
        })
      }
    }
  }
  return { live, more }
}
