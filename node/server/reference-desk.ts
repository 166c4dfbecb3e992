import type { ProcessReport } from '../../protocols/admin.ts'
import type { ClientId } from '../../protocols/ids.ts'
import type { MessageBody } from '../../protocols/messages.ts'
import type { Client } from './client.ts'
import type { ClientTable } from './client-table.ts'

/** A program that is busy with its own work answers when it comes to it. */
const answerMs = 1500

export interface ReferenceAnswers {
  processes: readonly ProcessReport[]
  told: ReadonlyMap<ClientId, MessageBody<'references'>>
  /** They did not answer in time. */
  silent: readonly ProcessReport[]
}

/** Asks the programs of this node which values they hold. */
export class ReferenceDesk {
  readonly #clients: Pick<ClientTable, 'all'>
  readonly #asked = new Map<number, { client: ClientId; answer(body: MessageBody<'references'>): void }>()
  #lastId = 0

  constructor(clients: Pick<ClientTable, 'all'>) {
    this.#clients = clients
  }

  async ask(): Promise<ReferenceAnswers> {
    const clients = [...this.#clients.all()].filter(({ role }) => role !== 'command')
    const told = new Map<ClientId, MessageBody<'references'>>()
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, answerMs)
    const ids = clients.map((client) => this.#ask(client, (body) => told.set(client.id, body)))
    await Promise.race([Promise.all(ids.map(({ answered }) => answered)), late])
    clearTimeout(timer)
    for (const { requestId } of ids) this.#asked.delete(requestId)
    return {
      processes: clients.map(toReport),
      told,
      silent: clients.filter(({ id }) => !told.has(id)).map(toReport),
    }
  }

  #ask(
    client: Client,
    onAnswer: (body: MessageBody<'references'>) => void,
  ): { requestId: number; answered: Promise<void> } {
    const requestId = (this.#lastId = (this.#lastId + 1) % 0xffff_ffff)
    const { promise: answered, resolve } = Promise.withResolvers<void>()
    this.#asked.set(requestId, {
      client: client.id,
      answer: (body) => {
        onAnswer(body)
        resolve()
      },
    })
    client.send('referencesAsk', { requestId })
    return { requestId, answered }
  }

  /** Answers that come too late are of no use. */
  answered(client: Client, body: MessageBody<'references'>): void {
    const asked = this.#asked.get(body.requestId)
    if (asked?.client === client.id) asked.answer(body)
  }
}

function toReport({ id, pid, role, program }: Client): ProcessReport {
  return { client: id, pid, role: role === 'worker' ? 'worker' : 'driver', program }
}
