import { totalmem } from 'node:os'
import { getHeapStatistics } from 'node:v8'

/** Of the machine's memory. */
const heapShare = 0.75

/**
 * Arguments for a Node.js that runs programs of users: its heap may grow to most of the machine's memory, unless its
 * environment says otherwise. By itself it would end at 4 GiB, and would stop the program to collect garbage for each view
 * on a value that is a good part of that.
 */
export function heapLimit({ NODE_OPTIONS = '' }: NodeJS.ProcessEnv): string[] {
  if (/max[-_]old[-_]space[-_]size/.test(NODE_OPTIONS)) return []
  const bytes = Math.max(totalmem() * heapShare, getHeapStatistics().heap_size_limit)
  return [`--max-old-space-size=${Math.floor(bytes / 1024 ** 2)}`]
}
