/** At rest a node says every so often that it is still there. */
const restMs = 5_000
/** Who has a link with everybody says so less often: the links tell that it is there. */
const linkedRestMs = 20_000
const suspectMs = 12_000
const goneMs = 30_000
/** Up to so many nodes the times above hold; more nodes speak, and are waited for, in proportion. */
const nodesAtFullPace = 30
/** Changes are told to all so often at most; those in between go together. */
const changeMs = 1_000
/** Every node checks the signature of all that is told to all, so of that it hears no more than 25 a second. */
const changeMsPerNode = 40

/** How often a node speaks up in a mesh of some size, and how long others wait for it. */
export interface Rhythm {
  /** At rest. */
  readonly restMs: number
  /** At rest, with a link to every other node. */
  readonly linkedRestMs: number
  /** A change is told to all when it has lasted for so long: most are over by then. */
  readonly changeMs: number
  /** A node that was silent for so long is suspected. */
  readonly suspectMs: number
  readonly goneMs: number
}

export function rhythmOf(nodeCount: number): Rhythm {
  const factor = Math.max(1, nodeCount / nodesAtFullPace)
  return {
    restMs: restMs * factor,
    linkedRestMs: linkedRestMs * factor,
    changeMs: Math.max(changeMs, nodeCount * changeMsPerNode),
    suspectMs: suspectMs * factor,
    goneMs: goneMs * factor,
  }
}
