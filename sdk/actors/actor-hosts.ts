import type { ClientId, ObjectId } from '../../protocols/ids.ts'
import type { TaskResult } from '../../protocols/task-messages.ts'
import type { WireValue } from '../../protocols/wire-value.ts'
import type { DirectWorkers } from '../direct/direct-workers.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { leaseRequest } from '../tasks/lease-request.ts'
import type { StreamRecord } from '../tasks/stream-record.ts'
import type { TaskRecord } from '../tasks/task-record.ts'
import type { TaskSpecHost } from '../tasks/task-spec.ts'
import type { ActorLinkHost, ActorStatus } from './actor-link.ts'
import type { ActorsHost } from './actors.ts'
import type { OwnedActor, OwnedActorsHost } from './owned-actors.ts'

/** What an owner of actors tells the rest of its process. */
interface OwnedNews {
  status(actor: ObjectId, status: ActorStatus): void
  /** An actor is dead that stood for another. */
  aliasDead(target: ObjectId, actor: OwnedActor): void
  /** An actor is dead that had a name. */
  nameFree(actor: ObjectId): void
  killTarget(target: ObjectId, mayRestart: boolean): void
}

/** What links to actors tell the rest of their process. */
interface LinkNews {
  watch(actor: ObjectId): void
  /** A link does not use the line to a worker any more. */
  hangUp(worker: ClientId): void
  /** A call has its result. */
  ended(task: TaskRecord): void
}

/** Time, as the parts need it that know no clock. */
const timing = {
  after: (delayMs: number, callback: () => void): void => void setTimeout(callback, delayMs).unref(),
  nowMs: (): number => performance.now(),
}

function specHostOf({ calls }: ActorsHost): TaskSpecHost {
  return {
    named: (argument: ObjectRecord) => calls.named(argument),
    streamPart: (task: TaskRecord, stream: StreamRecord) => calls.recovery.streamPart(task, stream),
    moveToStore: (task: TaskRecord, value: WireValue) => calls.moveToStore(task, value),
  }
}

/** Lets go of what a call has brought that nobody wants. */
export function discardWith({ calls }: ActorsHost): (result: TaskResult, worker: ClientId | undefined) => void {
  return ({ values }, worker) => {
    for (const value of values) calls.results.drop(value, worker)
  }
}

/** What the actors of this process need to live: the connection to the node, objects, and time. */
export function ownedActorsHost(host: ActorsHost, on: OwnedNews): OwnedActorsHost {
  const { connection, role, objects, calls } = host
  const from = connection.welcome.clientId
  const discard = discardWith(host)
  return {
    ...specHostOf(host),
    ...timing,
    onStatus: on.status,
    killTarget: on.killTarget,
    requestLease: (requestId, terms, { name: label, job }) =>
      connection.send(
        'leaseRequest',
        leaseRequest(requestId, terms, { label, job, depth: role.depth(), isActor: true }),
      ),
    cancelRequest: (requestId) => connection.send('leaseCancel', { requestId }),
    returnLease: (leaseId) => connection.send('leaseReturn', { leaseId }),
    killLease: (leaseId, reason) => connection.send('leaseKill', { leaseId, reason }),
    start: (leaseId, worker, actor, creation, settings) => {
      objects.lend(creation.args, worker)
      for (const { value } of creation.resolved) objects.lend(value, worker)
      connection.send('actorStart', { leaseId, actor, creation, settings })
    },
    end: (leaseId) => connection.send('actorEnd', { leaseId }),
    tell: (watcher, actor, { error, ...status }) =>
      connection.send('actorState', {
        to: watcher,
        from,
        actor,
        ...status,
        error: error === undefined ? [] : [error],
      }),
    encodeError: (error) => host.encodeError(error),
    decodeError: async (error, worker) => {
      if (worker !== '') objects.adopt(error, worker)
      try {
        return await host.coder.decode(error)
      } catch (failure) {
        return failure
      } finally {
        if (error.kind === 'stored' && worker !== '') calls.results.drop(error, undefined)
      }
    },
    discard,
    onDead: (actor) => {
      const { creation, settings, alias, id } = actor
      creation.holds = undefined
      creation.resolvedRefs = []
      if (creation.args.kind === 'stored') calls.results.drop(creation.args, undefined)
      if (alias !== undefined) on.aliasDead(alias.target, actor)
      else if (settings.name !== '') on.nameFree(id)
    },
  }
}

/** What the links to actors need: the same, and lines to workers. */
export function actorLinkHost(host: ActorsHost, lines: DirectWorkers, on: LinkNews): ActorLinkHost {
  const { connection, objects, calls } = host
  const from = connection.welcome.clientId
  const discard = discardWith(host)
  return {
    ...specHostOf(host),
    ...timing,
    defer: queueMicrotask,
    push: ({ worker, target, handle, calls: sent, isDirect }) => {
      const message = { to: worker, from, requestId: 0, actor: target, handle, calls: sent }
      if (isDirect) {
        lines.send(worker, 'actorPush', message)
        return
      }
      for (const { task } of sent) {
        objects.lend(task.args, worker)
        for (const { value } of task.resolved) objects.lend(value, worker)
      }
      connection.send('actorPush', message)
    },
    cancelCall: (to, sequence, { recursive, isDirect }) => {
      const message = { to, from, sequence, recursive }
      if (isDirect) lines.send(to, 'actorCancel', message)
      else connection.send('actorCancel', message)
    },
    meet: (worker) => lines.meet(worker),
    lineTo: (worker) => lines.lineTo(worker),
    fence: (worker) => lines.fence(worker),
    hangUp: on.hangUp,
    watch: on.watch,
    settle: (task, result, worker) => {
      on.ended(task)
      calls.results.settle(task, result, worker)
    },
    discard,
    fail: (task, error) => {
      on.ended(task)
      calls.results.fail(task, error)
    },
    failAs: (task, error) => {
      on.ended(task)
      calls.results.failAs(task, error)
    },
    failWith: (task, argument) => {
      on.ended(task)
      calls.results.failWith(task, argument)
    },
    isRetriable: (task, error) => calls.isRetriable(task, error),
  }
}
