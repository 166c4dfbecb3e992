/**
 * Installs what package-lock.json names, when that has not been done: `npm run demo` on a fresh clone needs nothing typed
 * before it. Every npm script begins with this file, so it must be quick when there is nothing to do, and it must run
 * under whatever Node runs npm. The install brings Node 24 into node_modules/.bin, which npm puts first in PATH: after
 * `hash -r`, since a shell remembers where it found a program, the next `node` of the same script is that one.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const modules = join(root, 'node_modules')
const stampFile = join(modules, '.shoal-setup')
const nodeMajorMin = 24

const lockText = readFileSync(join(root, 'package-lock.json'), 'utf8')
const lockHash = createHash('sha256').update(lockText).digest('hex')

if (readIfThere(stampFile) !== lockHash) {
  if (!isInstalled()) install()
  writeFileSync(stampFile, lockHash)
}
checkNode()

/** True when node_modules was filled from this very lock file by a plain `npm ci` or `npm install`. */
function isInstalled() {
  const installedText = readIfThere(join(modules, '.package-lock.json'))
  if (installedText === undefined) return false
  const installed = JSON.parse(installedText).packages
  const locked = JSON.parse(lockText).packages
  return Object.entries(locked).every(([path, entry]) => {
    if (path === '') return true
    // An optional package of another platform is left out by npm.
    if (installed[path] === undefined) return entry.optional === true
    return installed[path].integrity === entry.integrity && installed[path].version === entry.version
  })
}

function install() {
  console.error('shoal: installing what package-lock.json names (npm ci); this happens once')
  // npm must not run on the Node that it is about to replace.
  const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.startsWith(modules))
  const { npm_execpath: npmFile, npm_node_execpath: npmNode } = process.env
  const [command, ...first] = npmFile?.endsWith('.js') && npmNode && existsSync(npmNode) ? [npmNode, npmFile] : ['npm']
  const options = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error']
  const { status, signal, error } = spawnSync(command, [...first, ...options], {
    cwd: root,
    env: { ...process.env, PATH: path.join(delimiter) },
    stdio: ['ignore', process.stderr, process.stderr],
  })
  if (error !== undefined) fail(`npm could not be started (${error.message}): install npm 10 or newer`)
  if (signal !== null) fail(`the installation was ended by ${signal}: run the same command again`)
  if (status !== 0) {
    fail(
      `npm ci ended with status ${status}; its own message is above. It needs the npm registry, and room on the disk`,
    )
  }
}

/** The next `node` of the script must be able to run TypeScript. */
function checkNode() {
  if (existsSync(join(modules, '.bin', 'node'))) return
  const major = Number(process.versions.node.split('.')[0])
  if (major >= nodeMajorMin) return
  fail(
    `this is Node ${process.versions.node} on ${process.platform}-${process.arch}, and npm has no Node ${nodeMajorMin} ` +
      `package for that platform: install Node ${nodeMajorMin} or newer, then run the same command again`,
  )
}

function readIfThere(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}

function fail(message) {
  console.error(`shoal: ${message}`)
  process.exit(1)
}
