import { ObjectUnavailableError } from './errors.ts'
import type { ObjectId } from './ids.ts'

/** A value lies in a file that could not be read this time. `object`: '' when that is not known. `reason`: of the system. */
export function unreadableValue(value: {
  name: string
  bytes: number
  object: ObjectId
  reason: string
}): ObjectUnavailableError {
  const { name, bytes, object, reason } = value
  const whose = object === '' ? '' : ` of the object ${object}`
  const message = `the value ${name}${whose} (${bytes} bytes) could not be read from its file: ${reason}; it is not lost, so that trying again may help`
  return new ObjectUnavailableError(message, { ...value })
}
