interface TaskGlobals {
  shipOn: unknown
  classIdOnWorker: unknown
  idOfAnyOnWorker: unknown
  classByIdOnWorker: unknown
}

const reserved: TaskGlobals = {
  shipOn: undefined,
  classIdOnWorker: undefined,
  idOfAnyOnWorker: undefined,
  classByIdOnWorker: undefined,
}

/**
 * What tasks of the tests can call. Imported before anything else: what is global before the SDK is loaded counts as part
 * of the platform, and is not captured.
 */
export const taskGlobals: TaskGlobals = Object.assign(globalThis, reserved)
