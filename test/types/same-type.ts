/** True when the two types are the same, not only assignable to one another. */
// oxlint-disable-next-line no-unnecessary-type-parameters -- the usual way to compare two types
type IsSame<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** Compiles only when both types are the same: `sameType<typeof value, number>()`. */
export declare function sameType<A, B>(...differs: IsSame<A, B> extends true ? [] : [never]): void
