import { parseToken } from '../membership/join-token.ts'
import { UsageError } from './usage-error.ts'

const tokenCharsMax = 16 * 1024

/**
 * The token to join with: what was typed, the first line of standard input for `-`, or `SHOAL_TOKEN`. The last two keep it
 * out of the list of processes, which everybody on the machine can read.
 */
export async function readToken(typed: string | undefined): Promise<string> {
  const text = typed === '-' ? await firstLine(process.stdin) : (typed ?? process.env['SHOAL_TOKEN'])
  // The node's workers must not inherit it.
  delete process.env['SHOAL_TOKEN']
  if (text === undefined || text.trim() === '') {
    const where = typed === '-' ? 'standard input has none' : 'give it as `shoal join TOKEN`, or `-`, or in SHOAL_TOKEN'
    throw new UsageError(`a token is needed to join a mesh: ${where}; \`shoal up\` and \`shoal token create\` show one`)
  }
  try {
    parseToken(text)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
  return text.trim()
}

async function firstLine(input: NodeJS.ReadStream): Promise<string> {
  let text = ''
  input.setEncoding('utf8')
  for await (const chunk of input) {
    text += String(chunk)
    if (text.includes('\n') || text.length > tokenCharsMax) break
  }
  return text.split('\n')[0] ?? ''
}
