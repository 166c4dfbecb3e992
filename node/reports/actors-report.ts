import type { ActorReport, NodeActors } from '../../protocols/admin.ts'
import { nodeOf } from '../../protocols/ids.ts'
import type { ClientQuestions } from '../server/client-questions.ts'

/** Of one node; more are only counted. */
const actorsMax = 2000

/** The actors that programs of this node own and that are not dead, and the detached ones that it leads. */
export async function actorsReport(
  questions: Pick<ClientQuestions<'actorsAsk'>, 'ask'>,
  keeper: { kept(): ActorReport[] },
): Promise<NodeActors> {
  const { told, processes, silent } = await questions.ask()
  const all = keeper.kept()
  let more = 0
  for (const [client, answer] of told) {
    more += answer.more
    const owner = processes.find((each) => each.client === client)
    for (const {
      actor: id,
      className,
      namespace,
      name: actorName,
      state,
      restarts,
      worker,
      workerPid,
    } of answer.actors) {
      if (state === 'dead') continue
      all.push({
        id,
        className,
        state,
        restarts,
        isDetached: false,
        ...(actorName === '' ? {} : { namespace, actorName }),
        ...(worker === '' ? {} : { node: nodeOf(worker), pid: workerPid }),
        ...(owner === undefined ? {} : { owner }),
      })
    }
  }
  return { actors: all.slice(0, actorsMax), more: more + Math.max(0, all.length - actorsMax), silent }
}
