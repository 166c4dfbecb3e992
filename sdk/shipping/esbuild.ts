import type * as esbuild from 'esbuild'

export type Esbuild = typeof esbuild

/** Loaded when something has to be bundled: workers do without it. */
export async function loadEsbuild(): Promise<Esbuild> {
  return await import('esbuild')
}

/** How the user's code is read, whatever is made of it. */
export const esbuildOptions = {
  bundle: true,
  write: false,
  metafile: true,
  format: 'esm',
  platform: 'node',
  target: 'esnext',
  // As Node resolves, which knows none of the bundlers' own conditions.
  conditions: [],
  mainFields: ['main'],
  logLevel: 'silent',
  // Node does not read a tsconfig either.
  tsconfigRaw: { compilerOptions: { target: 'esnext', verbatimModuleSyntax: true } },
  loader: { '.node': 'empty' },
} as const satisfies esbuild.BuildOptions

export function escapeForRegExp(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`)
}
