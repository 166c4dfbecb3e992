import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('./raw-tls-process.ts', import.meta.url))

/** Two processes and nothing but TLS between them, with the settings of the connections between nodes. */
export class RawTls implements Disposable {
  readonly #sender: ChildProcess
  readonly #reader: ChildProcess

  private constructor(sender: ChildProcess, reader: ChildProcess) {
    this.#sender = sender
    this.#reader = reader
  }

  get pids(): number[] {
    return [this.#sender.pid, this.#reader.pid].filter((pid) => pid !== undefined)
  }

  static async start(bytes: number): Promise<RawTls> {
    const sender = fork(program, ['send', String(bytes)])
    const [port] = (await once(sender, 'message')) as [number]
    const reader = fork(program, ['read', String(bytes), String(port)])
    await once(reader, 'message')
    return new RawTls(sender, reader)
  }

  /** Sends all bytes, over a new connection; returns the milliseconds. */
  async transfer(): Promise<number> {
    this.#reader.send('go')
    const [ms] = (await once(this.#reader, 'message')) as [number]
    return ms
  }

  [Symbol.dispose](): void {
    this.#reader.disconnect()
    this.#sender.disconnect()
  }
}
