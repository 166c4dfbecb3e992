import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')

/** Has this process find out which refs nobody uses any more. */
export const collectGarbage = runInNewContext('gc') as () => void
