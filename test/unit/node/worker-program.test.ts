import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { WorkerProgram } from '../../../node/workers/worker-program.ts'
import { temporaryDirectory } from '../../support/daemon-process.ts'

const sources = {
  'protocols/fish.ts': `export class Fish { static readonly all: Fish[] = [new Fish()] }\n`,
  'sdk/index.ts': `export { Fish } from '../protocols/fish.ts'\nexport const place: string = import.meta.url\n`,
  'sdk/net.ts': `import {\n  createHash,\n  type Hash,\n} from 'node:crypto'
export const hash = (): Hash => createHash('sha256')
export const fail = (): Error => new Error('torn')\n`,
  'sdk/worker/main.ts': `import { basename } from 'node:path'
import { Fish } from '../index.ts'
import { fail, hash } from '../net.ts'
const { modules, url } = globalThis[Symbol.for('shoal.bundle')] ?? {}
const has = process.moduleLoadList.includes('NativeModule crypto')
hash()
const knows = process.moduleLoadList.includes('NativeModule crypto')
console.log(JSON.stringify({
  run: url && basename(new URL(url).pathname),
  places: Object.keys(modules ?? {}).map((each) => basename(each)).sort(),
  isSame: modules?.[import.meta.resolve(SDK)].Fish === Fish,
  place: modules?.[import.meta.resolve(SDK)].place === import.meta.resolve(SDK),
  name: Fish.name, has, knows,
  line: /:(\\d+):\\d+\\)?$/m.exec(fail().stack)?.[1],
}))
await Promise.resolve()\n`,
}

interface World {
  entry: string
  cacheDirectory: string
  logged: string[]
  make(): WorkerProgram
  write(name: string, text: string): void
}

function makeWorld(): World {
  const directory = temporaryDirectory()
  const cacheDirectory = path.join(directory, 'cache')
  const entry = path.join(directory, 'sdk/worker/main.ts')
  const logged: string[] = []
  const write = (name: string, text: string): void => {
    const file = path.join(directory, name)
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(file, text.replaceAll('SDK', JSON.stringify(`file://${directory}/sdk/index.ts`)))
  }
  for (const [name, text] of Object.entries(sources)) write(name, text)
  const make = (): WorkerProgram => new WorkerProgram({ entry, cacheDirectory, log: (text) => logged.push(text) })
  return { entry, cacheDirectory, logged, make, write }
}

test('workers run the modules until there is one file of them, and that from then on', async () => {
  const { entry, cacheDirectory, logged, make } = makeWorld()
  const program = make()
  const preparing = program.prepare()
  assert.equal(program.file, entry)
  await preparing
  const { file } = program
  assert.equal(path.dirname(file), cacheDirectory)
  // The next node has it from the beginning.
  const next = make()
  const found = next.prepare()
  assert.equal(next.file, file)
  await found
  assert.deepEqual(readdirSync(cacheDirectory).toSorted(), [path.basename(file), `${path.basename(file)}.places`])
  assert.deepEqual(logged, [])
})

test('the file holds all modules, knows their places, and loads of Node what is used', async () => {
  const { make } = makeWorld()
  const program = make()
  await program.prepare()
  const output = execFileSync(process.execPath, [program.file], { encoding: 'utf8' })
  const { line, ...told } = JSON.parse(output) as Record<string, unknown>
  assert.ok(Number(line) > 0)
  assert.deepEqual(told, {
    run: path.basename(program.file),
    places: ['fish.ts', 'index.ts', 'net.ts'],
    isSame: true,
    place: true,
    name: 'Fish',
    has: false,
    knows: true,
  })
})

test('a file of other sources is never run', async () => {
  const world = makeWorld()
  const before = world.make()
  await before.prepare()
  world.write('protocols/fish.ts', `export class Fish { static readonly all: Fish[] = [] }\n`)
  const after = world.make()
  const preparing = after.prepare()
  assert.equal(after.file, world.entry)
  await preparing
  assert.notEqual(after.file, world.entry)
  assert.notEqual(after.file, before.file)
})

test('a file that was deleted is done without', async () => {
  const { entry, make } = makeWorld()
  const program = make()
  await program.prepare()
  rmSync(program.file)
  assert.equal(program.file, entry)
})

test('files that no node has begun with for long are deleted', async () => {
  const world = makeWorld()
  const before = world.make()
  await before.prepare()
  const files = [before.file, `${before.file}.places`]
  const age = (): void => {
    for (const file of files) utimesSync(file, new Date('2020-01-01'), new Date('2020-01-01'))
  }
  age()
  // One begins with it, so that it is kept when another one is made.
  await world.make().prepare()
  world.write('sdk/net.ts', `${sources['sdk/net.ts']}\n`)
  await world.make().prepare()
  assert.deepEqual(
    files.map((file) => existsSync(file)),
    [true, true],
  )
  age()
  world.write('sdk/net.ts', `${sources['sdk/net.ts']}\n\n`)
  await world.make().prepare()
  assert.deepEqual(
    files.map((file) => existsSync(file)),
    [false, false],
  )
})

test('nodes that make it at the same time do not disturb each other', async () => {
  const { cacheDirectory, logged, make } = makeWorld()
  const programs = [make(), make(), make()]
  await Promise.all(programs.map((program) => program.prepare()))
  assert.equal(new Set(programs.map(({ file }) => file)).size, 1)
  assert.equal(readdirSync(cacheDirectory).length, 2)
  assert.deepEqual(logged, [])
})

test('where it cannot be made, workers run the modules, and the log says why', async () => {
  const world = makeWorld()
  writeFileSync(world.cacheDirectory, '')
  const program = world.make()
  await program.prepare()
  assert.equal(program.file, world.entry)
  assert.match(world.logged.join('\n'), /^workers run the modules of the SDK one by one: \w+:.*\/cache/)
})

test('a module that imports what is not part of the program keeps it from being made', async () => {
  const world = makeWorld()
  world.write('sdk/net.ts', `import 'left-pad'\n${sources['sdk/net.ts']}`)
  const program = world.make()
  await program.prepare()
  assert.equal(program.file, world.entry)
  assert.match(world.logged.join('\n'), /left-pad is not part of the program/)
})
