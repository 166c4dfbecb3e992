import { NotCloneableError } from '../../protocols/errors.ts'
import { isClass, type AnyClass } from './any-function.ts'
import { registeredClassId } from './class-registry.ts'
import { originOfFunction, refusalOf } from './copyability.ts'
import { globalPathOf } from './known-values.ts'

/** Classes by what was found out about them. */
const isUsers = new WeakMap<object, boolean>()

/**
 * The class of a user's instance, when its fields are all there is to it. Undefined for what is not an instance of a
 * class of the user's own files. Throws NotCloneableError when it is, but cannot be copied: it has #private fields, or
 * extends a class that is not the user's.
 */
export function classOfInstance(value: object): AnyClass | undefined {
  const prototype = Object.getPrototypeOf(value) as object | null
  if (prototype === null || prototype === Object.prototype) return undefined
  const cls = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value as unknown
  if (!isClass(cls) || cls.prototype !== prototype || !isClassOfUser(cls)) return undefined
  const refusal = refusalOf(value)
  if (refusal !== undefined) {
    throw new NotCloneableError(`${refusal.reason.replace(/^it holds/, 'cannot copy')}\n  fix: ${refusal.fix}`, {
      class: cls.name,
    })
  }
  return cls
}

function isClassOfUser(cls: AnyClass): boolean {
  if (registeredClassId(cls) !== undefined) return true
  let known = isUsers.get(cls)
  if (known === undefined) {
    known = globalPathOf(cls) === undefined && originOfFunction(cls).script?.origin === 'user'
    isUsers.set(cls, known)
  }
  return known
}
