/** At rest a node says every so often that it is still there. */
const restMs = 5_000
const suspectMs = 12_000
const goneMs = 30_000
/** Up to so many nodes the times above hold; more nodes speak, and are waited for, in proportion. */
const nodesAtFullPace = 30

/** How often nodes of a mesh of this size speak up at rest, and after how long a silent one is suspected, and gone. */
export function rhythmOf(nodeCount: number): { restMs: number; suspectMs: number; goneMs: number } {
  const factor = Math.max(1, nodeCount / nodesAtFullPace)
  return { restMs: restMs * factor, suspectMs: suspectMs * factor, goneMs: goneMs * factor }
}
