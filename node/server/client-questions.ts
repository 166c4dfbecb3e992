import type { ProcessReport } from '../../protocols/admin.ts'
import type { ClientId } from '../../protocols/ids.ts'
import type { MessageBody, MessageName } from '../../protocols/messages.ts'
import type { Client } from './client.ts'
import type { ClientTable } from './client-table.ts'

/** A program that is busy with its own work answers when it comes to it. */
const answerMs = 1500

/** The answer to each question. */
interface Answers {
  referencesAsk: 'references'
  tasksAsk: 'liveTasks'
  actorsAsk: 'ownedActors'
}

type Question = keyof Answers & MessageName
type Answer<Q extends Question> = MessageBody<Answers[Q]> & { requestId: number }

export interface ClientAnswers<Q extends Question> {
  /** Those that were asked. */
  processes: readonly ProcessReport[]
  told: ReadonlyMap<ClientId, Answer<Q>>
  /** They did not answer in time. */
  silent: readonly ProcessReport[]
}

/** Asks the programs of this node all the same thing, such as which values they hold. */
export class ClientQuestions<Q extends Question> {
  readonly #clients: Pick<ClientTable, 'all'>
  readonly #question: Q
  readonly #asked = new Map<number, { client: ClientId; answer(body: Answer<Q>): void }>()
  #lastId = 0

  constructor(clients: Pick<ClientTable, 'all'>, question: Q) {
    this.#clients = clients
    this.#question = question
  }

  /** @param isMeant leaves out those that can have nothing to say */
  async ask(isMeant: (client: Client) => boolean = () => true): Promise<ClientAnswers<Q>> {
    const clients = [...this.#clients.all()].filter((client) => client.role !== 'command' && isMeant(client))
    const told = new Map<ClientId, Answer<Q>>()
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, answerMs)
    const ids = clients.map((client) => this.#ask(client, (body) => told.set(client.id, body)))
    await Promise.race([Promise.all(ids.map(({ answered }) => answered)), late])
    clearTimeout(timer)
    for (const { requestId } of ids) this.#asked.delete(requestId)
    return {
      processes: clients.map(processReport),
      told,
      silent: clients.filter(({ id }) => !told.has(id)).map(processReport),
    }
  }

  #ask(client: Client, onAnswer: (body: Answer<Q>) => void): { requestId: number; answered: Promise<void> } {
    const requestId = (this.#lastId = (this.#lastId + 1) % 0xffff_ffff)
    const { promise: answered, resolve } = Promise.withResolvers<void>()
    this.#asked.set(requestId, {
      client: client.id,
      answer: (body) => {
        onAnswer(body)
        resolve()
      },
    })
    client.send<Question>(this.#question, { requestId })
    return { requestId, answered }
  }

  /** Answers that come too late are of no use. */
  answered(client: Client, body: Answer<Q>): void {
    const asked = this.#asked.get(body.requestId)
    if (asked?.client === client.id) asked.answer(body)
  }
}

export function processReport({ id, pid, role, program }: Client): ProcessReport {
  return { client: id, pid, role: role === 'worker' ? 'worker' : 'driver', program }
}
