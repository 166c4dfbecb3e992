import type { AdminReply } from '../../protocols/admin.ts'
import { InvalidArgumentError, NotSupportedError, ShoalError } from '../../protocols/errors.ts'
import { limits } from '../../protocols/limits.ts'
import { jsonBytes } from '../../protocols/within-bytes.ts'

/** Of the message, besides what is in it. */
const frameBytes = 64

/** Answers calls by name. Rejects with an error of the family for what is asked wrongly or cannot be done. */
export interface AdminCallee {
  call(name: string, args: unknown): Promise<unknown>
}

/**
 * Answers a call of the command line or of a program; errors become answers, too, and so does an answer that is too large:
 * the message would end the connection of who asks.
 */
export async function answerAdmin(
  callee: AdminCallee | undefined,
  name: string,
  args: unknown,
  bytesMax: number = limits.adminReplyBytesMax - frameBytes,
): Promise<AdminReply> {
  try {
    if (callee === undefined) {
      throw new NotSupportedError('this node is on its own: it was started without a network, so it belongs to no mesh')
    }
    const reply: AdminReply = { ok: true, value: (await callee.call(name, args)) as never }
    const bytes = jsonBytes(reply)
    if (bytes > bytesMax) throw new InvalidArgumentError(`the answer has ${bytes} bytes, over ${bytesMax}`, { name })
    return reply
  } catch (error) {
    const { code, retryable } = error instanceof ShoalError ? error : { code: 'INTERNAL', retryable: false }
    return { ok: false, error: { code, message: (error as Error).message, retryable } }
  }
}
