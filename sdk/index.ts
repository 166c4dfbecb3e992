/**
 * Shoal's SDK: remote functions that run on every machine you have.
 *
 * @example
 * import { init, remote, get } from 'shoal'
 * await init()
 * const square = remote((x: number) => x * x)
 * console.log(await get([1, 2, 3].map((x) => square.remote(x)))) // [1, 4, 9]
 */
export { init, isInitialized, shutdown, type InitOptions, type ShoalContext } from './api/init.ts'
export { remote, RemoteFunction } from './api/remote-function.ts'
export type { RemoteArguments } from './api/remote-types.ts'
export type { LabelOption, SchedulingStrategyOption, TaskOptions } from './api/task-options.ts'
export { nodes, type NodeInfo } from './api/nodes.ts'
export {
  placementGroup,
  PlacementGroup,
  placementGroups,
  removePlacementGroup,
  type Bundle,
  type GroupOptions,
  type PlacementGroupInfo,
  type PlacementGroupOptions,
  type ReadyOptions,
} from './api/placement-group.ts'
export { currentPlacementGroup } from './api/own-group.ts'
export { RemoteClass } from './api/remote-class.ts'
export { getActor, kill, type GetActorOptions, type KillOptions } from './api/actors.ts'
export { actorContext, exitActor, type ActorContext } from './api/actor-context.ts'
export type { ActorHandle } from './actors/actor-handle.ts'
export type { ActorOptions, ConcurrencyGroup } from './actors/actor-options.ts'
export type { ActorMethod, ActorMethods, MethodOptions } from './actors/actor-types.ts'
export { ActorPool, type ActorPoolMapOptions } from './api/actor-pool.ts'
export { Queue, type QueueOptions } from './api/queue.ts'
export { Pool, type MapProgress, type Mapper, type PoolMapOptions, type PoolOptions, type Work } from './api/pool.ts'
export type { AsyncResult } from './pools/async-result.ts'
export type { Items } from './pools/item-source.ts'
export {
  parallelMap,
  parallelMapIterable,
  parallelMapSkip,
  type ParallelMapIterableOptions,
  type ParallelMapOptions,
} from './api/parallel-map.ts'
export { taskContext, type TaskContext } from './api/task-context.ts'
export {
  cancel,
  get,
  put,
  release,
  wait,
  type CancelOptions,
  type GetOptions,
  type PutOptions,
  type WaitOptions,
} from './api/values.ts'
export { ObjectRef } from './objects/object-ref.ts'
export { ObjectRefStream } from './runtime/object-ref-stream.ts'
export type { PlacementStrategy } from '../protocols/placement-groups.ts'
export * from '../protocols/errors.ts'
