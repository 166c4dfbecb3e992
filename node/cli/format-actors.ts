import type { ActorReport, NodeActors, NodeAnswer, ProcessReport } from '../../protocols/admin.ts'
import { clean, plural } from './format-text.ts'
import { styled, type Style } from './style.ts'
import { formatTable } from './table.ts'

export type ListedActor = ActorReport & { readonly nodeName?: string }

/** The actors of a mesh in one list. */
export interface ActorList {
  readonly actors: readonly ListedActor[]
  /** Besides those. */
  readonly more: number
  /** Programs that are too busy to say what actors they have. */
  readonly silent: readonly ProcessReport[]
  readonly problems: readonly { readonly name: string; readonly problem: string }[]
}

/** Puts together what the nodes say: by class, then by name. */
export function listActors(answers: readonly NodeAnswer<NodeActors>[], only?: string): ActorList {
  const names = new Map(answers.map(({ node, name }) => [node, name]))
  const values = answers.flatMap(({ value }) => (value === undefined ? [] : [value]))
  const isMeant = ({ id, className, actorName = '' }: ActorReport): boolean =>
    only === undefined || className.includes(only) || actorName.includes(only) || id.startsWith(only)
  const actors = values.flatMap((value) => value.actors).filter(isMeant)
  return {
    actors: actors.toSorted(byName).map((actor) => {
      const { node } = actor
      return node === undefined ? actor : { ...actor, nodeName: names.get(node) ?? node }
    }),
    more: values.reduce((sum, { more }) => sum + more, 0),
    silent: values.flatMap(({ silent }) => silent),
    problems: answers.flatMap(({ name, problem }) => (problem === undefined ? [] : [{ name, problem }])),
  }
}

function byName(a: ActorReport, b: ActorReport): number {
  const [left, right] = [a, b].map(({ className, actorName = '', id }) => JSON.stringify([className, actorName, id]))
  return (left as string) < (right as string) ? -1 : 1
}

const styles: Partial<Record<ActorReport['state'], Style>> = { alive: 'green', restarting: 'yellow' }

/** For people to read. */
export function formatActors({ actors, more, silent, problems }: ActorList): string {
  const rows = actors.map(
    ({ id, className, actorName, namespace, state, nodeName = '-', pid, restarts, owner, isDetached }) => {
      const style = styles[state]
      return [
        id,
        clean(className),
        actorName === undefined ? '-' : clean(namespace === 'default' ? actorName : `${namespace}/${actorName}`),
        style === undefined ? state : styled(style, state),
        clean(nodeName),
        pid === undefined ? '-' : String(pid),
        String(restarts),
        isDetached ? 'detached' : ownerOf(owner),
      ]
    },
  )
  const heading = ['ACTOR', 'CLASS', 'NAME', 'STATE', 'NODE', 'PID', 'RESTARTS', 'OWNER']
  const lines = [rows.length === 0 ? 'No actors.' : formatTable(heading, rows)]
  if (more > 0) lines.push(`and ${plural(more, 'actor')} more`)
  if (silent.length > 0) {
    lines.push(
      `Busy, so that their actors are not known: ${silent.map(({ role, pid }) => `${role} ${pid}`).join(', ')}`,
    )
  }
  for (const { name, problem } of problems)
    lines.push(styled('yellow', `${clean(name)} does not say: ${clean(problem)}`))
  return lines.join('\n')
}

function ownerOf(owner: ProcessReport | undefined): string {
  if (owner === undefined) return '-'
  const file = owner.program.split(/[\\/]/).at(-1) ?? ''
  return owner.role === 'driver' && file !== '' ? `${clean(file)} (pid ${owner.pid})` : `${owner.role} ${owner.pid}`
}
