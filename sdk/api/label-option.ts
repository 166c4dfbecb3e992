/** What a label of a node must be; a plain text stands for `{ in: [text] }`. */
export type LabelOption =
  | string
  | { readonly in: readonly string[] }
  | { readonly notIn: readonly string[] }
  | { readonly exists: boolean }
