/** The parts of an error that are not its own enumerable fields. */
export interface ErrorFields {
  message: string
  stack: string | undefined
  cause?: unknown
}

export function errorFields(error: Error): ErrorFields {
  const fields: ErrorFields = { message: error.message, stack: error.stack }
  return 'cause' in error ? { ...fields, cause: error.cause } : fields
}

/** An error of the user's class, made without calling its constructor. */
export function rebuildError(fields: ErrorFields, errorClass: new () => object): Error {
  const error = new Error(fields.message)
  Object.setPrototypeOf(error, errorClass.prototype as object)
  if (fields.stack !== undefined) define(error, 'stack', fields.stack)
  if ('cause' in fields) define(error, 'cause', fields.cause)
  return error
}

function define(error: Error, name: string, value: unknown): void {
  Object.defineProperty(error, name, { value, writable: true, enumerable: false, configurable: true })
}
