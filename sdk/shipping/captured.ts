import type { LiveVariables } from './inspect.ts'
import type { FunctionKind, GraphNode, LibManifest, ScopeVariable, ValueRef } from './manifest.ts'
import type { Script } from './script.ts'
import type { Scope, Site } from './script-syntax.ts'
import type { Node } from './syntax.ts'

/** A function with everything that it needs, as of the moment of its capture. Its imports are not looked at yet. */
export interface CapturedFunction {
  readonly name: string
  readonly kind: FunctionKind
  /** Where it was written, such as `driver.ts:12:20`. */
  readonly at: string | undefined
  readonly main: ValueRef
  readonly nodes: readonly GraphNode[]
  readonly scopes: readonly ScopeVariable[][]
  readonly units: readonly CapturedUnit[]
  readonly libs: readonly CapturedLib[]
  /** Refs, remote functions and the like that it closes over. */
  readonly handles: readonly unknown[]
  /** What the user should know, in sentences. */
  readonly warnings: readonly string[]
}

/** Something imported: known already, or still to be found and bundled. */
export type CapturedLib = { lib: LibManifest } | { request: ImportRequest }

export interface ImportRequest {
  specifier: string
  /** The folder that it is imported from. */
  directory: string
  form: 'import' | 'require'
  /** Where the import is, such as `driver.ts:3:1`. */
  at: string
  /** What else the same file imports from the same package: it has to be built together to share what is inside. */
  alongside?: readonly string[]
}

/** How a top-level name of a script is known on the worker. */
export type RootMode =
  /** A part of an imported module. */
  | { mode: 'import'; lib: number; name: string }
  /** A variable of the unit that is given a value. */
  | { mode: 'value' }
  /** Its declaration is part of the unit. */
  | { mode: 'declaration' }

/** A function of a script that is called with scopes to make closures. */
export interface CapturedSite {
  index: number
  site: Site
  /** The expression after `extends`: a value is put in its place, as it cannot be evaluated again. */
  heritage: Node | undefined
  /** The scopes whose variables it uses, outermost first: the parameters of the factory. */
  scopes: Scope[]
}

/** The part of one script that a function needs. */
export interface CapturedUnit {
  readonly index: number
  readonly script: Script
  readonly roots: Map<string, RootMode>
  /** Statements and declarators that are taken over. */
  readonly parts: Set<Node>
  readonly sites: Map<Node, CapturedSite>
  /** Top-level functions and classes that values refer to. */
  readonly exposed: Map<string, number>
  /** Variables with a value and where they were declared. */
  readonly values: Map<string, { ref: ValueRef; position: number }>
  /** Values to be built when the unit has run. */
  readonly after: ValueRef[]
  /** Ids of top-level classes. */
  readonly classIds: Map<string, string>
  /** Scopes of some function of the script, to read top-level names from. */
  readonly liveScopes: readonly LiveVariables[]
  /** Libs that expressions in the text refer to, by specifier. */
  readonly dynamicLibs: Map<string, number>
  readonly requiredLibs: Map<string, number>
}
