import { clean } from './format-text.ts'
import { UsageError } from './usage-error.ts'

/** What a person may call a thing: its name, or its id or the beginning of that. */
export interface Named {
  readonly id: string
  readonly name?: string | undefined
}

/** The one thing that a person means. Throws UsageError when there is none, or more than one. */
export function findByPrefix<T extends Named>(what: string, text: string, all: readonly T[]): T {
  const exact = all.filter(({ id, name }) => id === text || name === text)
  const found = exact.length > 0 || text === '' ? exact : all.filter(({ id }) => id.startsWith(text))
  const [only, ...more] = found
  if (only === undefined) {
    const known = all.map(describe).join(', ')
    throw new UsageError(
      `there is no ${what} ${JSON.stringify(text)}; ${known === '' ? 'there is none' : `there is ${known}`}`,
    )
  }
  if (more.length > 0) {
    throw new UsageError(`${JSON.stringify(text)} may be ${found.map(describe).join(' or ')}: give more of the id`)
  }
  return only
}

function describe({ id, name }: Named): string {
  return name === undefined ? id : `${clean(name)} (${id})`
}
