import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import path from 'node:path'
import { parse } from 'acorn'
import { InvalidArgumentError } from '../../protocols/errors.ts'

/** Throws, with file, line and column, when a program is not valid TypeScript or JavaScript: before anything is started. */
export async function checkSyntax(file: string): Promise<void> {
  const extension = path.extname(file)
  const source = readFileSync(file, 'utf8')
  const code = /^\.[mc]?ts$/.test(extension) ? stripTypes(file, source) : source
  const problem = parseProblem(code, extension)
  // The parser may not know the newest syntax, so Node itself has the last word.
  if (problem === undefined || isValidForNode(code, extension)) return
  const { line, column, message } = problem
  throw syntaxError(`${file}:${line}:${column + 1}`, message, source.split('\n')[line - 1])
}

/** Types become blanks, so positions stay. */
function stripTypes(file: string, source: string): string {
  const { emitWarning } = process
  // That this function of Node's is experimental is no concern of the user's.
  process.emitWarning = () => {}
  try {
    return stripTypeScriptTypes(source)
  } catch (error) {
    const { message, stack = '' } = error as Error
    const line = Number(/:(\d+)\n/.exec(stack)?.[1] ?? 1)
    throw syntaxError(`${file}:${line}`, message.trim(), source.split('\n')[line - 1])
  } finally {
    process.emitWarning = emitWarning
  }
}

interface Problem {
  message: string
  line: number
  column: number
}

function parseProblem(code: string, extension: string): Problem | undefined {
  let problem: Problem | undefined
  for (const sourceType of isCommonJs(extension) ? (['script'] as const) : (['module', 'script'] as const)) {
    try {
      const options = { allowHashBang: true, allowReturnOutsideFunction: sourceType === 'script' }
      parse(code, { ecmaVersion: 'latest', sourceType, ...options })
      return undefined
    } catch (error) {
      const { message, loc } = error as SyntaxError & { loc?: { line: number; column: number } }
      problem ??= { message: message.replace(/ \(\d+:\d+\)$/, ''), line: loc?.line ?? 1, column: loc?.column ?? 0 }
    }
    if (extension === '.mjs' || extension === '.mts') break
  }
  return problem
}

function isCommonJs(extension: string): boolean {
  return extension === '.cjs' || extension === '.cts'
}

function isValidForNode(code: string, extension: string): boolean {
  const type = isCommonJs(extension) ? 'commonjs' : 'module'
  const { status } = spawnSync(process.execPath, ['--check', `--input-type=${type}`, '-'], {
    input: code,
    stdio: 'pipe',
  })
  return status === 0
}

function syntaxError(place: string, message: string, text: string | undefined): InvalidArgumentError {
  const excerpt = text === undefined || text.trim() === '' ? '' : `\n         ${text.trim().slice(0, 200)}`
  return new InvalidArgumentError(`syntax error in ${place}: ${message}${excerpt}`, { place })
}
