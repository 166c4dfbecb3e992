/**
 * The id after `lastId` that is not in use: 1, 2, 3 and on. Ids are 32 bits wide on the wire, so a node that has given
 * out all of them begins again.
 */
export function nextId(lastId: number, inUse: { has(id: number): boolean }): number {
  let id = lastId
  do id = id >= 0xffff_ffff ? 1 : id + 1
  while (inUse.has(id))
  return id
}
