import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { tlsOptions } from '../../node/network/direct-bulk.ts'

/**
 * One end of a plain TLS connection that sends bytes from memory into memory, as fast as Node can: `send BYTES` says at which
 * port it listens, `read BYTES PORT` says for each message how many milliseconds it took.
 */
const [role, size = '', port = ''] = process.argv.slice(2)
const psk = Buffer.alloc(32, 5)
const writeBytes = 1024 * 1024
const memory = Buffer.alloc(Number(size), 7)

if (role === 'send') {
  const server = createServer({ ...tlsOptions, pskCallback: () => psk }, (socket) => void send(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.send?.((server.address() as AddressInfo).port)
} else {
  process.on('message', () => void read().then((ms) => process.send?.(ms)))
  process.send?.(0)
}
process.on('disconnect', () => process.exit())

/** Waits for one byte, so that nothing but the bytes themselves is measured; then sends all. */
async function send(socket: TLSSocket): Promise<void> {
  socket.setNoDelay(true)
  await once(socket, 'data')
  for (let at = 0; at < memory.length; at += writeBytes) {
    await new Promise((resolve) => socket.write(memory.subarray(at, at + writeBytes), resolve))
  }
  socket.end()
}

async function read(): Promise<number> {
  let count = 0
  const options: ConnectionOptions & { onread: object } = {
    ...tlsOptions,
    host: '127.0.0.1',
    port: Number(port),
    pskCallback: () => ({ psk, identity: 'bench' }),
    checkServerIdentity: () => new Error('a certificate instead of the secret'),
    onread: {
      buffer: () => memory.subarray(count < memory.length ? count : 0),
      callback: (bytes: number) => {
        count += bytes
        return true
      },
    },
  }
  const socket = connect(options)
  socket.setNoDelay(true)
  await once(socket, 'secureConnect')
  const startedAt = performance.now()
  socket.write('.')
  await once(socket, 'close')
  if (count !== memory.length) throw new Error(`${count} of ${memory.length} bytes have come`)
  return performance.now() - startedAt
}
