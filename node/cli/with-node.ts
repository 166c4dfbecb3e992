import { nodePlaces } from '../home/runtime-directory.ts'
import { NodeClient } from './node-client.ts'

/** Connects to the node of this machine for as long as `use` takes. */
export async function withNode<T>(use: (client: NodeClient) => Promise<T>): Promise<T> {
  const client = await NodeClient.connect(nodePlaces().socketPath)
  try {
    return await use(client)
  } finally {
    client.close()
  }
}

/** Prints a result: as one line of JSON for programs, or as people read it. */
export function print<T>(value: T, { json }: { json?: boolean }, format: (value: T) => string): void {
  process.stdout.write(`${json === true ? JSON.stringify(value) : format(value)}\n`)
}
