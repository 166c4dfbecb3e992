import { spawn, type ChildProcess } from 'node:child_process'

/**
 * Reads "+pid" and "-pid" until its input ends, which the kernel sees to however the daemon dies; then kills what is on
 * the list and deletes what the node had. Paths come as arguments, so none is ever read as script. The shared names in
 * the runtime folder are deleted only while they are this node's: a new one may have started there.
 */
const script = `
trap '' HUP INT TERM
workers=' '
while IFS= read -r line; do
  case $line in
    +*) workers="$workers\${line#+} " ;;
    -*) gone=\${line#-}
        case $workers in *" $gone "*) workers="\${workers%%" $gone "*} \${workers#*" $gone "}" ;; esac ;;
  esac
done
for pid in $workers; do kill -s KILL -- "-$pid"; done 2>/dev/null
runtime=$1 token=$2 embedded=$3
shift 3
for attempt in 1 2 3 4 5; do
  rm -rf -- "$@" 2>/dev/null && break
  sleep 0.1
done
content=
[ -f "$runtime/node.json" ] && IFS= read -r content <"$runtime/node.json"
case $content in *"$token"*) rm -f -- "$runtime/node.sock" "$runtime/node.log" "$runtime/node.json" ;; esac
[ "$embedded" = yes ] && rmdir -- "$runtime" 2>/dev/null
exit 0
`

export interface GuardianOptions {
  runtimeDirectory: string
  token: string
  embedded: boolean
  /** Folders of this node alone. */
  directories: readonly string[]
}

const restartsMax = 3

/** A tiny process that outlives the daemon by a moment, so that nothing else does. */
export class Guardian {
  readonly #args: readonly string[]
  readonly #watched = new Set<number>()
  readonly #log: (text: string) => void
  #child: ChildProcess
  #exited: Promise<void> = Promise.resolve()
  #closing = false
  #restarts = 0

  constructor(options: GuardianOptions, log: (text: string) => void) {
    const { runtimeDirectory, token, embedded, directories } = options
    this.#args = ['-c', script, 'shoal-guardian', runtimeDirectory, token, embedded ? 'yes' : 'no', ...directories]
    this.#log = log
    this.#child = this.#start()
  }

  #start(): ChildProcess {
    // A session of its own: a Ctrl-C or a closed terminal meant for the daemon does not reach it.
    const child = spawn('/bin/sh', this.#args, { detached: true, stdio: ['pipe', 'ignore', 'ignore'], cwd: '/' })
    child.stdin?.on('error', () => {})
    this.#exited = new Promise((resolve) => {
      const onEnd = (): void => {
        resolve()
        if (!this.#closing) this.#replace()
      }
      child.once('exit', onEnd)
      child.once('error', onEnd)
    })
    return child
  }

  #replace(): void {
    if (++this.#restarts > restartsMax) {
      this.#log('the guardian ended again; the node goes on without one')
      return
    }
    this.#child = this.#start()
    for (const pid of this.#watched) this.#child.stdin?.write(`+${pid}\n`)
    this.#log('the guardian ended before the node; another one takes its place')
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  watch(pid: number): void {
    this.#watched.add(pid)
    this.#child.stdin?.write(`+${pid}\n`)
  }

  forget(pid: number): void {
    if (this.#watched.delete(pid)) this.#child.stdin?.write(`-${pid}\n`)
  }

  /** Lets it do its work and waits for its end. */
  async close(): Promise<void> {
    this.#closing = true
    this.#child.stdin?.end()
    await this.#exited
  }
}
