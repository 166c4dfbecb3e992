import { Refusal } from './refusal.ts'
import type { Script } from './script.ts'
import type { Site } from './script-syntax.ts'
import { childrenOf, isClassNode, type Node } from './syntax.ts'

/**
 * Throws a Refusal when a function uses what only exists where it was written: `this`, `super`, `arguments`,
 * `new.target` or a #private name of the method or function around it.
 */
export function checkLexical(script: Script, site: Site): void {
  new LexicalCheck(script, site).run()
}

class LexicalCheck {
  readonly #script: Script
  readonly #site: Site
  readonly #privateNames = new Set<string>()

  constructor(script: Script, site: Site) {
    this.#script = script
    this.#site = site
  }

  run(): void {
    const { node, method } = this.#site
    const parent = this.#script.syntax.parentOf(node)
    if (method !== undefined && parent?.type === 'MethodDefinition' && parent.key.type === 'PrivateIdentifier') {
      throw new Refusal('it is a private method', 'wrap it in a function, or ship the whole class')
    }
    const isArrow = node.type === 'ArrowFunctionExpression'
    this.#visit(node, isArrow && this.#hasThisAround(node), isArrow || method !== undefined)
  }

  /** Whether `this` means something around an arrow function. */
  #hasThisAround(node: Node): boolean {
    for (let at = this.#script.syntax.parentOf(node); at !== undefined; at = this.#script.syntax.parentOf(at)) {
      if (at.type === 'FunctionExpression' || at.type === 'FunctionDeclaration') return true
      if (at.type === 'PropertyDefinition' || at.type === 'StaticBlock') return true
    }
    return false
  }

  #visit(node: Node, isThisOutside: boolean, isSuperOutside: boolean): void {
    if (node.type === 'ThisExpression' && isThisOutside) {
      this.#refuse(
        '`this` of the method or function',
        node,
        'copy what it needs to a const first, as in const { x } = this',
      )
    }
    if (node.type === 'MetaProperty' && node.meta.name === 'new' && isThisOutside) {
      this.#refuse('`new.target` of the function', node, 'copy it to a const first')
    }
    if (node.type === 'Super' && isSuperOutside) {
      this.#refuse('`super` of the class', node, 'ship the whole class, or call the parent function directly')
    }
    if (isClassNode(node)) {
      for (const member of node.body.body) {
        if ('key' in member && member.key.type === 'PrivateIdentifier') this.#privateNames.add(member.key.name)
      }
    }
    if (node.type === 'PrivateIdentifier' && !this.#privateNames.has(node.name)) {
      this.#refuse(`the private name #${node.name} of the class`, node, 'pass the value as an argument')
    }
    const isInner = node !== this.#site.node && /^Function(Expression|Declaration)$/.test(node.type)
    const isClassBody = node.type === 'ClassBody'
    for (const child of childrenOf(node)) {
      this.#visit(child, isThisOutside && !isInner && !isClassBody, isSuperOutside && !isInner && !isClassBody)
    }
  }

  #refuse(what: string, node: Node, fix: string): never {
    throw new Refusal(`it uses ${what} around it`, fix, this.#script.where(node.start))
  }
}
