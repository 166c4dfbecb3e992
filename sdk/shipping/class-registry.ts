import type { AnyClass } from './any-function.ts'

/**
 * Which class of this process is meant by an id, and the other way round: an instance that comes back from a worker
 * becomes one of the driver's own class. Ids of classes of
 * the top level name the user's file and the class in it, so both sides arrive at the same; others are given once.
 */

/** Classes that were only loaded for one call can be collected. */
const classesById = new Map<string, WeakRef<AnyClass>>()
const idsByClass = new WeakMap<AnyClass, string>()
/** Ids of dead classes are dropped each time the table has doubled. */
let sweepAt = 1000

/** Finds a class that nobody has registered; only the capturing side can. */
let finder: ((id: string) => AnyClass | undefined) | undefined

export function setClassFinder(find: (id: string) => AnyClass | undefined): void {
  finder = find
}

/** Tells the id of a class. The first class of an id is the one that `classById` gives. */
export function registerClass(id: string, cls: AnyClass): void {
  idsByClass.set(cls, id)
  if (classesById.get(id)?.deref() !== undefined) return
  if (classesById.size >= sweepAt) sweep()
  classesById.set(id, new WeakRef(cls))
}

/** The id of a class that was registered. */
export function registeredClassId(cls: AnyClass): string | undefined {
  return idsByClass.get(cls)
}

/** The class that was registered under an id, if it is still there. */
export function registeredClass(id: string): AnyClass | undefined {
  return classesById.get(id)?.deref()
}

/** This process's class of that id. */
export function classById(id: string): AnyClass | undefined {
  return registeredClass(id) ?? finder?.(id)
}

function sweep(): void {
  for (const [id, cls] of classesById) if (cls.deref() === undefined) classesById.delete(id)
  sweepAt = Math.max(1000, classesById.size * 2)
}
