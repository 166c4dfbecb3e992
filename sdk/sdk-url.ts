import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** The module that `import ... from 'shoal'` means: `index`, with the extension that this very file has. */
export const sdkUrl: string = new URL(`./index${path.extname(fileURLToPath(import.meta.url))}`, import.meta.url).href
