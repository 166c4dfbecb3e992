import type { AdminReply } from '../../protocols/admin.ts'
import { NotSupportedError, ShoalError } from '../../protocols/errors.ts'

/** Answers calls by name. Rejects with an error of the family for what is asked wrongly or cannot be done. */
export interface AdminCallee {
  call(name: string, args: unknown): Promise<unknown>
}

/** Answers a call of the command line or of a program; errors become answers, too. */
export async function answerAdmin(callee: AdminCallee | undefined, name: string, args: unknown): Promise<AdminReply> {
  try {
    if (callee === undefined) {
      throw new NotSupportedError('this node is on its own: it was started without a network, so it belongs to no mesh')
    }
    return { ok: true, value: (await callee.call(name, args)) as never }
  } catch (error) {
    const { code, retryable } = error instanceof ShoalError ? error : { code: 'INTERNAL', retryable: false }
    return { ok: false, error: { code, message: (error as Error).message, retryable } }
  }
}
