import { clip } from '../../protocols/clip.ts'
import { InvalidArgumentError } from '../../protocols/errors.ts'
import { methodNameBytesMax, methodsMax } from '../../protocols/actor-messages.ts'
import { shownName } from '../functions/shown-name.ts'
import type { AnyClass } from './actor-types.ts'

const generatorTags = new Set(['GeneratorFunction', 'AsyncGeneratorFunction'])
/** Methods that the actor's own process calls. */
export const hooks = new Set(['onStart', 'onExit'])
/** What runs when an actor ends in good order, as far as its class has it. */
export const exitHooks = ['onExit', Symbol.asyncDispose, Symbol.dispose] as const

/** The methods of a class, and which of them are generators: those of the classes that it extends, too. */
export function describeMethods(cls: AnyClass): Record<string, boolean> {
  const methods: Record<string, boolean> = {}
  for (let at: unknown = cls.prototype; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at as object))) {
      // What every object has, such as toString, a handle has for itself.
      if (name in Object.prototype || hooks.has(name) || typeof value !== 'function' || Object.hasOwn(methods, name))
        continue
      if (Buffer.byteLength(name) > methodNameBytesMax) {
        const message = `class ${shownName(cls)} has a method with a name of ${Buffer.byteLength(name)} bytes, ${clip(name, 64)}; at most ${methodNameBytesMax} are possible`
        throw new InvalidArgumentError(message, { class: shownName(cls), method: name })
      }
      methods[name] = generatorTags.has((value as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? '')
    }
  }
  if (Object.keys(methods).length > methodsMax) {
    throw new InvalidArgumentError(`class ${shownName(cls)} has more than ${methodsMax} methods`, {
      class: shownName(cls),
    })
  }
  return methods
}

/** True when something of its own is to run at an orderly end of the actor. */
export function hasExitHook(prototype: object): boolean {
  return exitHooks.some((hook) => hook in prototype)
}

/** True when a method of the class is async, so that its calls are to interleave. */
export function hasAsyncMethods(prototype: object): boolean {
  for (let at: unknown = prototype; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const { value } of Object.values(Object.getOwnPropertyDescriptors(at as object))) {
      const tag = typeof value === 'function' ? (value as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] : ''
      if (tag === 'AsyncFunction' || tag === 'AsyncGeneratorFunction') return true
    }
  }
  return false
}
