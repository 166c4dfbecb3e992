import { NotCloneableError } from '../../protocols/errors.ts'
import type { NamedActor } from '../../protocols/actor-names.ts'
import { objectId, type ClientId, type ObjectId } from '../../protocols/ids.ts'
import { keptBytesMax, type KeptActor } from '../../protocols/kept-actor.ts'
import { wireBytes, type WireValue } from '../../protocols/wire-value.ts'
import type { RemoteClass } from '../api/remote-class.ts'
import type { ObjectRecord } from '../objects/object-record.ts'
import { ObjectRef } from '../objects/object-ref.ts'
import { taskSpecOf, type TaskSpecHost } from '../tasks/task-spec.ts'
import type { FunctionRecord, TaskRecord } from '../tasks/task-record.ts'
import { createHandle, type ActorDescription, type ActorHandle } from './actor-handle.ts'
import type { ActorStatus } from './actor-link.ts'
import { describedBy, describedText, nameTaken, type ActorNames } from './actor-names.ts'
import type { ResolvedActorOptions } from './actor-options.ts'
import type { ActorsHost } from './actors.ts'
import type { DetachedActors } from './detached-actors.ts'
import type { OwnedActor, OwnedActors } from './owned-actors.ts'

/** What making actors needs of the rest. */
export interface ActorMakerParts {
  readonly host: ActorsHost
  readonly specHost: TaskSpecHost
  readonly owned: OwnedActors
  readonly names: ActorNames
  readonly detached: DetachedActors
  /** How an actor is for which one of this process is about to stand, as far as is known: it is asked for. */
  statusOf(actor: ObjectId, life: ObjectRef | undefined, description: ActorDescription): ActorStatus | undefined
  sendKill(actor: ObjectId, leader: ClientId, mayRestart: boolean): void
  /** An actor of this process is there: it lives as long as somebody has a handle. */
  onMade(life: ObjectRecord): void
}

/** An actor whose name was taken, by one that is dead when it is asked, wants the name again so soon, and so often. */
const claimAgainMs = 100
const claimsMax = 20

/** Makes actors, with names and without: of this process, or such as outlive it; or finds those that have the name already. */
export class ActorMaker {
  readonly #with: ActorMakerParts
  /** Actors of this process that stand for others, which had their names already. */
  readonly #aliases = new Map<ObjectId, Set<OwnedActor>>()

  constructor(parts: ActorMakerParts) {
    this.#with = parts
  }

  create(remote: RemoteClass, args: readonly unknown[], options: ResolvedActorOptions): ActorHandle {
    const { objects, functions, calls, role } = this.#with.host
    const target = remote.prepare(functions)
    if (options.isDetached) return this.#createDetached(remote, args, options, target)
    const description = this.#describe(remote, options, target)
    const described = options.name === '' ? '' : describedText(description)
    const coded = calls.encodeArguments(args)
    const life = objects.owned.create()
    const { className } = description
    const { name, namespace, maxConcurrency, groups, terms } = options
    const creation = creationOf({
      sequence: life.sequence,
      className,
      function: target,
      terms,
      job: role.job(),
      ...coded,
    })
    const settings = { name, namespace, className, maxConcurrency, groups }
    const { id } = life
    const label = name === '' ? className : name
    const { hasExitHook } = description
    const owned = this.#with.owned.create(creation, { id, name: label, settings, hasExitHook }, options.maxRestarts)
    if (name === '') this.#with.owned.begin(owned)
    else {
      // Others will ask for it by its name, and not have heard of it from this process.
      objects.owned.share(life)
      void this.#claim(owned, described, options.getIfExists)
    }
    this.#with.onMade(life)
    return createHandle({ id, life: new ObjectRef(life), description })
  }

  /** Has the node make an actor that needs neither this process nor a handle. */
  #createDetached(
    remote: RemoteClass,
    args: readonly unknown[],
    options: ResolvedActorOptions,
    target: FunctionRecord,
  ): ActorHandle {
    const { connection, objects, exchange, role } = this.#with.host
    const description = this.#describe(remote, options, target)
    const { className } = description
    const described = describedText(description)
    const plain = args.map((each) => (each instanceof ObjectRef ? undefined : each))
    const { value, named } = exchange.encodeWhole(plain, 'arguments that have')
    const refs = args.flatMap((ref, position) => (ref instanceof ObjectRef ? [{ position, ref }] : []))
    const sequence = objects.owned.takeSequence()
    const id = objectId(connection.welcome.clientId, sequence)
    const { name, namespace, maxConcurrency, groups, terms, getIfExists, maxRestarts } = options
    const coded = { wire: value, holds: undefined, resolvedRefs: [] }
    const creation = creationOf({ sequence, className, function: target, terms, job: role.job(), ...coded })
    const settings = { name, namespace, className, maxConcurrency, groups }
    // Its keeper has it run its hooks; this process does not.
    const made = { id, name: name === '' ? className : name, settings, hasExitHook: false }
    const owned = this.#with.owned.create(creation, made, maxRestarts)
    const prepare = async (): Promise<KeptActor> => {
      const resolved: KeptActor['creation']['resolved'] = []
      const functionIds = new Set([target.id, ...named])
      for (const { position, ref } of refs) {
        const whole = exchange.encodeWhole(await this.#with.host.read(ref), 'an argument that has')
        resolved.push({ position, object: ref.id, value: whole.value })
        for (const each of whole.named) functionIds.add(each)
      }
      const kept: KeptActor = {
        named: {
          namespace,
          name,
          actor: id,
          manager: connection.welcome.clientId,
          epoch: 0,
          isReserve: false,
          term: 0,
          description: described,
        },
        creation: { ...taskSpecOf(creation, this.#with.specHost), resolved },
        settings: { ...settings, restarts: 0 },
        ...(await exchange.described(functionIds)),
        resources: terms.resources,
        strategy: terms.strategy,
        envVars: terms.envVars,
        envKey: terms.envKey,
        restartsLeft: maxRestarts,
      }
      const bytes = [value, ...resolved.map((each) => each.value), ...kept.functions.map((each) => each.value)]
        .map(wireBytes)
        .reduce((sum, each) => sum + each)
      if (bytes <= keptBytesMax) return kept
      throw new NotCloneableError(
        `the detached actor ${className} takes ${bytes} bytes with its arguments and what it closes over: at most ${keptBytesMax} are possible, since other nodes keep them, too`,
        { class: className, bytes, keptBytesMax },
      )
    }
    this.#with.detached.add(id)
    this.#with.detached.making(id, this.#keep(owned, prepare, getIfExists))
    return createHandle({ id, life: undefined, description })
  }

  async #keep(owned: OwnedActor, prepare: () => Promise<KeptActor>, getIfExists: boolean, tries = 1): Promise<void> {
    const { connection } = this.#with.host
    const { id, settings } = owned
    // The program does not end before that.
    const release = connection.hold()
    let outcome
    try {
      outcome = await this.#with.names.keep(await prepare())
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#with.owned.refuse(owned, `it could not be made: ${reason}`, error)
      return
    } finally {
      release()
    }
    if (outcome.type === 'failed') {
      this.#with.owned.refuse(owned, `it could not be made: ${outcome.error.message}`, outcome.error)
    } else if (outcome.type === 'taken') {
      if (owned.lifecycle.state === 'dead') return
      const again = (): void => this.#with.detached.making(id, this.#keep(owned, prepare, getIfExists, tries + 1))
      this.#isTaken(owned, outcome.holder, getIfExists && tries <= claimsMax ? again : undefined)
    } else if (outcome.holder !== undefined) {
      const { manager } = outcome.holder
      if (owned.lifecycle.state === 'dead') this.#with.sendKill(id, manager, false)
      else {
        owned.alias = { target: id, life: undefined, status: undefined, again: () => undefined }
        this.#addAlias(id, owned)
        this.#with.detached.led(id, manager)
      }
    } else this.#with.owned.refuse(owned, `it could not be made: ${settings.className} has no place`, undefined)
  }

  /** Wants the name of an actor, and then has it started; or makes it stand for the one that has the name. */
  async #claim(owned: OwnedActor, described: string, getIfExists: boolean, claims = 1): Promise<void> {
    const { id, settings } = owned
    let outcome
    try {
      outcome = await this.#with.names.claim(id, settings, described)
    } catch {
      // The node is gone, and with it everything that this process has made.
      return
    }
    // It was killed, or nobody holds it any more; then the name was given back.
    if (owned.lifecycle.state === 'dead') return
    if (outcome.type === 'given') this.#with.owned.begin(owned)
    else if (outcome.type === 'failed') {
      this.#with.owned.refuse(owned, `it has got no name: ${outcome.error.message}`, outcome.error)
    } else {
      const again = (): void => void this.#claim(owned, described, getIfExists, claims + 1)
      this.#isTaken(owned, outcome.holder, getIfExists && claims <= claimsMax ? again : undefined)
    }
  }

  /**
   * @param again undefined: that is an error. Else the actor stands for the holder; called when that is dead already, so that
   * its name is free soon.
   */
  #isTaken(owned: OwnedActor, holder: NamedActor, again: (() => void) | undefined): void {
    if (again === undefined) {
      const taken = nameTaken(owned.settings, holder)
      this.#with.owned.refuse(owned, taken.message, taken)
      return
    }
    const { actor: target } = holder
    const description = describedBy(holder.description)
    const life = description.isDetached ? undefined : this.#with.host.objects.acquireRef(target)
    owned.alias = { target, life, status: undefined, again }
    this.#addAlias(target, owned)
    const status = this.#with.statusOf(target, life, description)
    if (status !== undefined) this.#setAlias(owned, status)
  }

  /** How an actor is for which others of this process may stand. */
  onStatus(target: ObjectId, status: ActorStatus): void {
    for (const alias of this.#aliases.get(target) ?? []) this.#setAlias(alias, status)
  }

  #setAlias(owned: OwnedActor, status: ActorStatus): void {
    const { alias } = owned
    if (status.state !== 'dead' || alias?.status !== undefined) {
      this.#with.owned.aliasChanged(owned, status)
      return
    }
    // It has ended before it was found.
    owned.alias = undefined
    if (alias === undefined) return
    this.dropAlias(alias.target, owned)
    setTimeout(alias.again, claimAgainMs).unref()
  }

  /** Others of this process may stand for it already. */
  #addAlias(target: ObjectId, owned: OwnedActor): void {
    const aliases = this.#aliases.get(target)
    if (aliases === undefined) this.#aliases.set(target, new Set([owned]))
    else aliases.add(owned)
  }

  dropAlias(target: ObjectId, owned: OwnedActor): void {
    const aliases = this.#aliases.get(target)
    aliases?.delete(owned)
    if (aliases?.size === 0) this.#aliases.delete(target)
  }

  #describe(remote: RemoteClass, options: ResolvedActorOptions, target: FunctionRecord): ActorDescription {
    const { name, namespace, isDetached, maxTaskRetries, maxPendingCalls } = options
    // A class without a name has the one of what it was assigned to, which is known when it has been captured.
    const className = target.name
    return { ...remote.describeMethods(), className, name, namespace, isDetached, maxTaskRetries, maxPendingCalls }
  }
}

/** The call of a constructor. */
function creationOf({
  className: name,
  wire,
  ...creation
}: Pick<TaskRecord, 'sequence' | 'function' | 'terms' | 'job' | 'holds' | 'resolvedRefs'> & {
  className: string
  wire: WireValue
}): TaskRecord {
  return {
    ...creation,
    name,
    args: wire,
    argsBytes: wireBytes(wire),
    call: undefined,
    // One, of which only the error counts.
    returns: [undefined],
    stream: undefined,
    retryExceptions: false,
    replicas: 1,
    parent: undefined,
    sinceMs: Math.round(performance.now()),
    retriesLeft: 0,
    attempt: 0,
    state: 'waiting',
    leaseId: undefined,
    isCancelled: false,
    lineage: undefined,
  }
}
