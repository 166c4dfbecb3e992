/**
 * What a worker gets to rebuild a function: code by hash, and the values that the function closes over as a graph of
 * plain nodes. Everything here is plain data, but for captured handles, which travel as themselves.
 */
export interface FunctionManifest {
  name: string
  kind: FunctionKind
  /** The function itself. */
  main: ValueRef
  nodes: GraphNode[]
  /** Local variables: a list for each scope that shipped closures share. */
  scopes: ScopeVariable[][]
  units: UnitManifest[]
  libs: LibManifest[]
  /** The bundled files that `libs` reach. */
  files: FileManifest[]
  /** Packages that are not bundled, directly imported or not. */
  externals: ExternalPackage[]
}

export type FunctionKind = 'sync' | 'async' | 'generator' | 'asyncGenerator' | 'class'

export type Primitive = string | number | boolean | bigint | null | undefined

/** Index of a node, or a primitive in a list of one. */
export type ValueRef = number | [Primitive]

export type NamedValue = [name: string, value: ValueRef]

/** With the position in the script from which on it has its value; functions come before everything else. */
export type ScopeVariable = [name: string, value: ValueRef, position: number]

/** One script of the driver, cut down to what the function needs. */
export interface UnitManifest {
  /** sha256 of the code: a module whose default export is called with what follows. */
  code: string
  /** The user's file: what `import.meta.url` is. */
  url: string
  /** Libs by position: imported at the start, by `import()`, by `require()`. */
  imported: number[]
  dynamic: number[]
  required: number[]
  /** Top-level variables whose values travel. */
  values: NamedValue[]
  /** Nodes to be built when the unit has run, because they have effects on its functions and classes. */
  after: ValueRef[]
}

export type LibManifest =
  | { kind: 'builtin'; name: string }
  /** The worker's own SDK; `path` is that of a module inside it, relative to its main module. */
  | { kind: 'sdk'; path: string }
  | ({ kind: 'external' } & ExternalPackage)
  /** Bundled code. */
  | { kind: 'code'; key: string }

/** A package that has to be installed where the function runs, since it cannot be bundled. */
export interface ExternalPackage {
  /** What the user's code imports. */
  external: string
  url: string
  package: string
  version: string
}

export interface FileManifest {
  /** What other files import it by. */
  key: string
  code: string
  /** Keys of the files that it imports. */
  dependencies: string[]
  /** Set for a file of the user: it is loaded under this URL. */
  url?: string
}

/** The property attributes that are not the usual ones: any of r(ead-only), h(idden), f(ixed: not configurable). */
export type Attributes = string

export interface PropertyNode {
  key: string | number
  /** True when `key` is the node of a symbol. */
  isSymbol?: true
  value?: ValueRef
  get?: ValueRef
  set?: ValueRef
  attributes?: Attributes
}

export type GraphNode =
  | { type: 'global'; path: string[] }
  | { type: 'symbol'; key: string; isWellKnown: boolean }
  | { type: 'builtin'; module: string; name: string }
  | { type: 'handle'; value: unknown }
  | { type: 'lib'; lib: number; form: 'namespace' | 'dynamic' | 'required' }
  | { type: 'export'; lib: number; form: 'namespace' | 'required'; path: string[]; classId?: string }
  | { type: 'meta'; url: string }
  | { type: 'date'; timeMs: number }
  | { type: 'regexp'; source: string; flags: string; lastIndex: number }
  | { type: 'url'; href: string }
  | { type: 'urlSearch'; text: string }
  | { type: 'arrayBuffer'; bytes: Uint8Array; maxByteLength?: number }
  /** Without a length it reaches to the end of its buffer, whatever its size. */
  | { type: 'view'; view: string; buffer: ValueRef; byteOffset: number; length?: number }
  /** An array of nothing but primitives. */
  | { type: 'list'; items: Primitive[] }
  | ({ type: 'array'; length: number; items: [index: number, value: ValueRef][] } & ObjectParts)
  | ({ type: 'map'; entries: [key: ValueRef, value: ValueRef][] } & ObjectParts)
  | ({ type: 'set'; entries: ValueRef[] } & ObjectParts)
  | ({ type: 'object'; prototype?: ValueRef } & ObjectParts)
  | ({ type: 'error'; name: string } & ObjectParts)
  | { type: 'bound'; target: ValueRef; self: ValueRef; args: ValueRef[] }
  /** A function made in some scope: a factory of the unit, called with that scope's variables. */
  | {
      type: 'closure'
      unit: number
      site: number
      scopes: number[]
      name: string
      classId?: string
      /** What a class extends. */
      superclass?: ValueRef
      /** Where a class is in its script: what is declared before may be needed to define it. */
      position?: number
      props: PropertyNode[]
      prototypeProps: PropertyNode[]
    }
  /** A top-level function or class of a unit. */
  | { type: 'exposed'; unit: number; index: number; classId?: string; props: PropertyNode[] }

/** What any object may have. */
export interface ObjectParts {
  /** The class that it is an instance of, when that is the user's. */
  class?: ValueRef
  props: PropertyNode[]
  seal?: Seal
}

export type Seal = 'frozen' | 'sealed' | 'fixed'

/** The hashes of the blobs that a manifest needs. */
export function blobsOf(manifest: FunctionManifest): string[] {
  return [...new Set([...manifest.units.map((unit) => unit.code), ...manifest.files.map((file) => file.code)])]
}
