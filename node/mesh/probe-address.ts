import net from 'node:net'

const probeMs = 2000

/** Tries to open a connection to `/ip4/…/tcp/…`. `error` is empty when somebody accepts there. */
export function probeAddress(address: string): Promise<{ address: string; error: string }> {
  const parts = /^\/ip[46]\/([^/]+)\/tcp\/(\d+)(\/|$)/.exec(address)
  if (parts === null) return Promise.resolve({ address, error: 'it is not an address of the form /ip4/…/tcp/…' })
  return new Promise((resolve) => {
    const socket = net.connect({ host: parts[1] as string, port: Number(parts[2]) })
    const end = (error: string): void => {
      socket.destroy()
      resolve({ address, error })
    }
    socket.setTimeout(probeMs, () => end(`no answer within ${probeMs} ms`))
    socket.once('connect', () => end(''))
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
  })
}
