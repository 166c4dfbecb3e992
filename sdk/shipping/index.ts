/**
 * Function shipping: takes a function of the user's program apart and puts it together again in another process. A
 * function is its text, what it imports, and what it closes over; `captureFunction` finds all three in the running
 * program, `buildFunction` bundles the imports, and a worker's `FunctionLoader` (instantiate.ts) rebuilds the function.
 *
 * @example
 * const captured = captureFunction(fn, { hooks }) // throws when fn cannot travel; values are those of this moment
 * const { manifest, blobs } = await buildFunction(captured)
 * // on the worker, when the blobs are files in codeDirectory:
 * const copy = await new FunctionLoader({ codeDirectory, sdkUrl }).instantiate(manifest)
 */
import { installClassFinder } from './class-ids.ts'

installClassFinder()

export { blobsOf, type FunctionKind, type FunctionManifest } from './manifest.ts'
export type { CapturedFunction } from './captured.ts'
export type { ShippingHooks } from './capture.ts'
export { buildFunction, captureFunction, prewarmShipping, stopBundler, type ShippedFunction } from './ship.ts'
export { classId } from './class-ids.ts'
export { classOfInstance } from './class-instances.ts'
export { arrowModuleOf, importedArrow, readTable, shippedModule, type ArrowModule } from './arrow.ts'
export { classById } from './class-registry.ts'
