import { registerHooks } from 'node:module'
import path from 'node:path'

/**
 * Loaded before a user's program: `import 'shoal'` means this very package where the program has none of its own.
 */
const own = new URL(`../../sdk/index${path.extname(import.meta.url)}`, import.meta.url).href

registerHooks({
  resolve(specifier, context, nextResolve) {
    try {
      return nextResolve(specifier, context)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (specifier !== 'shoal' || (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND')) throw error
      return { url: own, shortCircuit: true }
    }
  },
})
