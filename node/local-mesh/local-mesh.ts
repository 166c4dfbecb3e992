import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { InvalidArgumentError, UnreachableError } from '../../protocols/errors.ts'
import type { NodeId } from '../../protocols/ids.ts'
import { NodeClient } from '../cli/node-client.ts'
import type { NodeOptions } from '../options.ts'
import { startLocalNode, type LocalNodeProcess } from './local-node.ts'

export interface LocalMeshOptions {
  /** How many: 1 to 64. */
  nodes: number
  /** CPUs that each offers to tasks, or those of the first, the second and so on. Default: 1. */
  cpus?: number | readonly number[]
  /** Where their files go. Default: a temporary folder, deleted at the end. */
  directory?: string
  /** What all of them are told besides, or each of them by its place. */
  options?: NodeOptions | ((index: number) => NodeOptions)
}

/** One node of a local mesh. */
export interface LocalNode {
  readonly name: string
  readonly nodeId: NodeId
  readonly pid: number
  readonly runtimeDirectory: string
  readonly stateDirectory: string
  readonly socketPath: string
  readonly addresses: readonly string[]
}

/** Several nodes on this machine that are one mesh. They end when it is disposed of, or when this process ends. */
export interface LocalMesh extends AsyncDisposable {
  readonly directory: string
  readonly nodes: readonly LocalNode[]
  /** One for each node: fulfilled when its process has ended. */
  readonly ended: readonly Promise<LocalNode>[]
  /** Starts a node anew, with the folders that it had, when its process has ended. It takes its old one's place above. */
  restart(index: number): Promise<LocalNode>
}

const nodesMax = 64
/** As much of the memory as one node would offer on its own. */
const memoryShare = 0.7
const storeShare = 1 / 3
/** More at once only slows down each of them. */
const startsAtOnce = 4
const tokenMs = 3_600_000
const linkedMs = 30_000
const lookMs = 25

/**
 * Starts nodes that find each other over 127.0.0.1 alone: the first makes the mesh, the others join it.
 *
 * @example
 * await using mesh = await startLocalMesh({ nodes: 3, cpus: 2 })
 * console.log(mesh.nodes.map(({ pid }) => pid))
 */
export async function startLocalMesh(options: LocalMeshOptions): Promise<LocalMesh> {
  const { nodes: count, cpus = 1 } = options
  const optionsOf = typeof options.options === 'function' ? options.options : () => options.options
  if (!Number.isInteger(count) || count < 1 || count > nodesMax) {
    throw new InvalidArgumentError(`a local mesh has 1 to ${nodesMax} nodes; got ${count}`, { nodes: count })
  }
  await using parts = new AsyncDisposableStack()
  const directory = options.directory ?? mkdtempSync(path.join(os.tmpdir(), 'shoal-mesh-'))
  if (options.directory === undefined) parts.defer(() => rmSync(directory, { recursive: true, force: true }))
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  // All at once at the end, not one after another.
  const running: LocalNodeProcess[] = []
  parts.defer(async () => {
    await Promise.all(running.map((node) => node.stop()))
  })

  const start = async (index: number, token?: string): Promise<LocalNodeProcess> => {
    const name = `n${index + 1}`
    const node = await startLocalNode({
      cpus: typeof cpus === 'number' ? cpus : (cpus[index] ?? cpus.at(-1) ?? 1),
      gpus: 0,
      memoryBytes: Math.floor((os.totalmem() * memoryShare) / count),
      storeBytesMax: Math.floor((os.totalmem() * storeShare) / count),
      ...optionsOf(index),
      name,
      runtimeDirectory: path.join(directory, name),
      stateDirectory: path.join(directory, `${name}-state`),
      ...(token === undefined ? {} : { join: token }),
    })
    running[index] = node
    return node
  }

  const started = [await start(0)]
  const [first] = started as [LocalNodeProcess]
  const token = count === 1 ? '' : await makeToken(first.node.socketPath, count - 1)
  for (let index = 1; index < count; index += startsAtOnce) {
    const next = Array.from({ length: Math.min(startsAtOnce, count - index) }, (_, i) => start(index + i, token))
    // All of them are known before one failure ends the others.
    const results = await Promise.allSettled(next)
    for (const result of results) {
      if (result.status === 'rejected') throw result.reason
      started.push(result.value)
    }
  }

  await allLinked(started.map(({ node }) => node.socketPath))
  const moved = parts.move()
  const nodes = started.map(({ node }) => node)
  const ended = started.map((process) => endOf(process))
  return {
    directory,
    nodes,
    ended,
    restart: async (index) => {
      await ended[index]
      const process = await start(index)
      nodes[index] = process.node
      ended[index] = endOf(process)
      return process.node
    },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  }
}

async function endOf({ ended, node }: LocalNodeProcess): Promise<LocalNode> {
  await ended
  return node
}

/** Waits until every node has a link to every other. */
async function allLinked(socketPaths: readonly string[]): Promise<void> {
  const deadline = Date.now() + linkedMs
  for (const socketPath of socketPaths) {
    const client = await NodeClient.connect(socketPath)
    try {
      while ((await client.call('meshInfo', {})).links.length < socketPaths.length - 1) {
        if (Date.now() > deadline) throw new UnreachableError(`the nodes have not found each other in ${linkedMs} ms`)
        await delay(lookMs)
      }
    } finally {
      client.close()
    }
  }
}

async function makeToken(socketPath: string, uses: number): Promise<string> {
  const client = await NodeClient.connect(socketPath)
  try {
    return (await client.call('tokenCreate', { role: 'admin', ttlMs: tokenMs, uses })).token
  } finally {
    client.close()
  }
}
