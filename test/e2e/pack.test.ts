import assert from 'node:assert/strict'
import { execFile, type ExecFileException } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const modules = join(root, 'node_modules')
const cli = 'node_modules/shoal/dist/node/cli/main.js'

let folder: string
/** A user's own project: the unpacked tarball in its node_modules, and nothing else of this repository. */
let project: string
let example: string

describe('the npm package', () => {
  before(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'shoal-pack-')))
    project = join(folder, 'project')
    await mkdir(join(project, 'node_modules', 'shoal'), { recursive: true })
    await mkdir(join(folder, 'home'))
    await run('npm', ['pack', '--pack-destination', folder, '--loglevel=error'], root)
    const tarball = (await readdir(folder)).find((name) => name.endsWith('.tgz'))
    assert.ok(tarball !== undefined, 'npm pack has made no tarball')
    await run('tar', ['-xzf', join(folder, tarball), '-C', join(project, 'node_modules/shoal'), '--strip-components=1'])
    await linkDependencies()
    await writeFile(join(project, 'package.json'), JSON.stringify({ type: 'module', private: true }))
    example = await readExample()
  })

  after(async () => {
    await rm(folder, { recursive: true, force: true })
  })

  test('holds the built code and what npm shows, not the sources', async () => {
    const names = await readdir(join(project, 'node_modules/shoal'))
    assert.deepEqual(names.filter((name) => name !== 'LICENSE').toSorted(), ['README.md', 'dist', 'package.json'])
    const built = await readdir(join(project, 'node_modules/shoal/dist'), { recursive: true })
    assert.deepEqual(
      built.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts')),
      [],
    )
  })

  test("runs the README's example in TypeScript", async () => {
    await writeFile(join(project, 'example.ts'), example)
    assertExampleOutput(await run(process.execPath, ['example.ts']))
  })

  test("runs the README's example in JavaScript", async () => {
    await writeFile(join(project, 'example.js'), stripTypeScriptTypes(example))
    assertExampleOutput(await run(process.execPath, ['example.js']))
  })

  test('infers types from the declarations, without skipping the check of any', async () => {
    await writeFile(join(project, 'example.ts'), example)
    await writeFile(
      join(project, 'types.ts'),
      `import { get, put, remote, wait, type ObjectRef } from 'shoal'
       const square = remote((x: number) => x * x)
       const one: ObjectRef<number> = square.remote(put(3))
       export const many: number[] = await get([one, square.remote(one)])
       export const pending: ObjectRef<number>[] = (await wait([one], { count: 1 })).pending
       // @ts-expect-error the value is a number
       export const wrong: string = await get(one)\n`,
    )
    assert.equal(await run('tsc', ['-p', await writeConfig(['example.ts', 'types.ts'])]), '')
  })

  test('makes a wrong argument a compile error', async () => {
    await writeFile(
      join(project, 'wrong.ts'),
      `import { remote } from 'shoal'\nconst square = remote((x: number) => x * x)\nsquare.remote('three')\n`,
    )
    const failed = await run('tsc', ['-p', await writeConfig(['wrong.ts'])]).then(() => undefined, String)
    assert.match(failed ?? '', /wrong\.ts\(3,15\): error TS2345: Argument of type 'string'/)
  })

  test('has the command, executable', async () => {
    const { mode } = await stat(join(project, cli))
    assert.equal(mode & 0o111, 0o111)
    assert.match(await readFile(join(project, cli), 'utf8'), /^#!\/usr\/bin\/env node\n/)
    const help = await run(process.execPath, [cli, '--help'])
    for (const verb of ['up', 'down', 'status', 'run']) assert.match(help, new RegExp(`^\\s+${verb}\\b`, 'm'))
  })
})

/** Runs a program in the project, with a home that is empty, and returns its output. Rejects with all it said. */
function run(program: string, args: readonly string[], cwd = project): Promise<string> {
  const env = {
    ...process.env,
    HOME: join(folder, 'home'),
    SHOAL_RUNTIME_DIR: join(folder, 'runtime'),
    PATH: `${join(modules, '.bin')}${delimiter}${process.env['PATH'] ?? ''}`,
    // Set by the runner of this very test; a program that sees it behaves as a part of the run.
    NODE_TEST_CONTEXT: undefined,
  }
  return new Promise((resolve, reject) => {
    execFile(program, args, { cwd, env }, (error: ExecFileException | null, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else
        reject(new Error(`${program} ${args.join(' ')} ended with ${error.code ?? error.signal}:\n${stdout}${stderr}`))
    })
  })
}

/** What npm would install for the package, from this repository instead of the registry; and the compiler's Node types. */
async function linkDependencies(): Promise<void> {
  const manifest = JSON.parse(await readFile(join(project, 'node_modules/shoal/package.json'), 'utf8')) as {
    dependencies: Record<string, string>
  }
  for (const name of [...Object.keys(manifest.dependencies), '@types/node']) {
    const link = join(project, 'node_modules', name)
    await mkdir(dirname(link), { recursive: true })
    await symlink(join(modules, name), link)
  }
}

/** The first TypeScript block of the README. */
async function readExample(): Promise<string> {
  const readme = await readFile(join(project, 'node_modules/shoal/README.md'), 'utf8')
  const [, code] = /```ts\n(.*?)```/s.exec(readme) ?? []
  assert.ok(code !== undefined, 'the README has no TypeScript example')
  return code
}

function assertExampleOutput(output: string): void {
  assert.equal(output, '[ 0, 1, 4, 9 ]\n1000000\n')
}

async function writeConfig(files: readonly string[]): Promise<string> {
  const compilerOptions = {
    target: 'es2024',
    module: 'nodenext',
    lib: ['es2024', 'esnext.disposable'],
    types: ['node'],
    strict: true,
    noEmit: true,
    skipLibCheck: false,
  }
  const name = `tsconfig.${files[0]}.json`
  await writeFile(join(project, name), JSON.stringify({ compilerOptions, files }))
  return name
}
