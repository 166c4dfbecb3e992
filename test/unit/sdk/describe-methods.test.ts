import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { describeMethods, hasAsyncMethods } from '../../../sdk/actors/describe-methods.ts'

class Base {
  inherited(): void {}
  overridden(): void {}
}

class Derived extends Base {
  field = 1
  arrow = (): number => this.field
  static helper(): void {}
  override overridden(): void {}
  get getter(): number {
    return 1
  }
  options(): void {}
  override toString(): string {
    return 'derived'
  }
  onStart(): void {}
  onExit(): void {}
  *items(): Generator<number> {
    yield 1
  }
}

describe('describeMethods', () => {
  test('methods of the class and of those that it extends; no fields, getters, statics or hooks, nor what every object has', () => {
    assert.deepEqual(describeMethods(Derived), {
      overridden: false,
      options: false,
      items: true,
      inherited: false,
    })
  })

  test('a class is async when one of its methods is, an inherited one, too', () => {
    assert.equal(hasAsyncMethods(Derived.prototype), false)
    class Async extends Derived {
      async later(): Promise<void> {}
    }
    class More extends Async {}
    assert.equal(hasAsyncMethods(More.prototype), true)
  })
})

test('a method whose name no message has room for is refused', () => {
  const withMethod = (name: string): new () => object =>
    class Long {
      [name](): void {}
    }
  assert.doesNotThrow(() => describeMethods(withMethod('x'.repeat(512))))
  assert.throws(
    () => describeMethods(withMethod('漢'.repeat(171))),
    /^InvalidArgumentError: class Long has a method with a name of 513 bytes, 漢{20}…; at most 512 are possible/,
  )
})
