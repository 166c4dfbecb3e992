import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withJsImports } from '../../../scripts/build.ts'

test('declarations import what is in the package', () => {
  const before = [
    `import type { A } from './a.ts'`,
    `export * from "../b/c.ts";`,
    `type D = import('./d.ts').D`,
    `import './e.ts'`,
  ].join('\n')
  const after = [
    `import type { A } from './a.js'`,
    `export * from "../b/c.js";`,
    `type D = import('./d.js').D`,
    `import './e.js'`,
  ].join('\n')
  assert.equal(withJsImports(before), after)
})

test('all else is left alone', () => {
  const text = `import { fs } from 'node:fs'\n/** from here: './a.ts' */\ntype T = './a.ts'\nexport * from './types.d.ts'\n`
  assert.equal(withJsImports(text), text)
})
