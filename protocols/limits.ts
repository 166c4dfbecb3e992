/** Limits of what crosses the wire. A reader that meets more closes the connection with a ProtocolError. */
export const limits = {
  /** Values up to this size travel inside messages; larger ones go through the object store. */
  inlineBytesMax: 100 * 1024,
  /** One frame: a batch of tasks or results. Senders start a new frame well before. */
  frameBytesMax: 4 * 1024 * 1024,
  /** One file of shipped code. */
  blobBytesMax: 64 * 1024 * 1024,
  /** Captured values of one function. */
  captureBytesMax: 100 * 1024 * 1024,
  /** Tasks of one process that have no result yet; one more is refused at the call. */
  tasksPendingMax: 1_000_000,
  /** What finished tasks of one process keep in memory so that lost results can be made again. */
  lineageBytesMax: 64 * 1024 * 1024,
  /** Tasks that are pushed to one lease and not yet answered. */
  tasksInFlightPerLeaseMax: 1000,
  /** Bytes of arguments in flight to one lease. */
  bytesInFlightPerLeaseMax: 4 * 1024 * 1024,
  /** Objects in one answer about what has arrived of what was lent: there may be several such answers. */
  settledObjectsMax: 50_000,
  /** The answer to one question of the command line or of a program, and the list in it, which leaves room for the rest. */
  adminReplyBytesMax: 16 * 1024 * 1024,
  adminListBytesMax: 12 * 1024 * 1024,
  /** The placement groups that one node tells another of, and the list of them. */
  groupsBytesMax: 8 * 1024 * 1024,
  groupsListBytesMax: 7 * 1024 * 1024,
  /** Items of a stream that the producer may be ahead of its consumer. */
  streamItemsAheadMax: 16,
  /** What one connection may have waiting to be written before it counts as stuck. */
  unsentBytesMax: 256 * 1024 * 1024,
} as const
