/** Imported before anything else: what is global before the SDK is loaded counts as part of the platform. */
for (const name of ['shipOn', 'classIdOnWorker', 'classByIdOnWorker']) Object.assign(globalThis, { [name]: undefined })
