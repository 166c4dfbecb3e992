/** Writes random programs that do not depend on anything but themselves. */
export class ProgramGenerator {
  #state: number
  #names = 0
  #depth = 0

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A module that exports `make`, which gives a function to ship. An importable one is imported by workers as it is. */
  program(isImportable: boolean): string {
    const scope = new Names()
    const top = this.#statements(scope, this.#between(3, 8), true)
    const inner = this.#functionBody(scope.inner(), (around) => {
      const names = around.inner()
      const params = this.#name('n')
      names.numbers.push(params)
      const body = this.#expressionBody(names, around.localLets, scope, isImportable)
      return `return (${params}) => { ${body} }`
    })
    return `const trace = (x) => x\n${top}\nexport function make() {\n${inner}\n}\n`
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  #between(low: number, high: number): number {
    return low + Math.floor(this.#next() * (high - low + 1))
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#next() * list.length)] as T
  }

  #chance(probability: number): boolean {
    return this.#next() < probability
  }

  #name(prefix: string): string {
    return `${prefix}${this.#names++}`
  }

  #functionBody(names: Names, last: (names: Names) => string): string {
    this.#depth++
    const shadow = this.#chance(0.4) ? this.#shadow(names) : ''
    const statements = shadow + this.#statements(names, this.#between(1, 5), false)
    const end = last(names)
    this.#depth--
    return `${statements}\n${end}`
  }

  /** Declares a name of an outer scope again, before anything refers to it. */
  #shadow(names: Names): string {
    const name = this.#pick(names.numbers)
    if (name === undefined || names.declared.has(name)) return ''
    names.declared.add(name)
    return `const ${name} = ${this.#between(100, 199)};\n`
  }

  #statements(names: Names, count: number, isTop: boolean): string {
    const lines: string[] = []
    for (let i = 0; i < count; i++) lines.push(this.#statement(names, isTop))
    return lines.join('\n')
  }

  #statement(names: Names, isTop: boolean): string {
    const exported = isTop && this.#chance(0.3) ? 'export ' : ''
    switch (this.#between(0, 10)) {
      case 0:
      case 1:
        return this.#variable(names, exported)
      case 2:
        return this.#object(names, exported)
      case 3:
      case 4:
        return this.#function(names, exported)
      case 5:
        return this.#class(names, exported)
      case 6:
        return this.#counter(names)
      case 7:
        return this.#pattern(names)
      case 8:
        return this.#collection(names)
      case 9:
        return this.#loop(names)
      default:
        return names.allLets.length > 0
          ? `${this.#pick(names.allLets)} += ${this.#number(names)};`
          : this.#variable(names, exported)
    }
  }

  #declare(names: Names, list: string[], prefix: string): string | undefined {
    const name = this.#name(prefix)
    if (names.declared.has(name)) return undefined
    names.declared.add(name)
    list.push(name)
    return name
  }

  #variable(names: Names, exported: string): string {
    // A module that is imported has its own exported variables.
    const isLet = exported === '' && this.#chance(0.5)
    const value = this.#number(names)
    const name = this.#declare(names, names.numbers, isLet ? 'l' : 'c')
    if (name === undefined) return ''
    if (isLet) (this.#depth === 0 ? names.lets : names.localLets).push(name)
    return `${exported}${isLet ? 'let' : 'const'} ${name} = ${value};`
  }

  #object(names: Names, exported: string): string {
    const value = this.#number(names)
    const call = this.#number(names)
    const name = this.#declare(names, names.objects, 'o')
    if (name === undefined) return ''
    const frozen = this.#chance(0.2)
    const text = `{ a: ${value}, f(x) { return this.a + x + ${call} }, get g() { return this.a * 2 }, h: (x) => x - ${call}, n: [${value}, { d: ${value} }] }`
    return `${exported}const ${name} = ${frozen ? `Object.freeze(${text})` : text};`
  }

  #function(names: Names, exported: string): string {
    if (this.#depth > 3) return this.#variable(names, '')
    const kind = this.#between(0, 3)
    const inner = names.inner()
    const params = this.#parameters(inner)
    const start = kind === 3 ? '(q) => q + ' : ''
    const body = this.#functionBody(inner, (all) => `return ${start}${this.#number(all)};`)
    const argument = this.#number(names)
    const name = this.#declare(names, names.functions, 'f')
    if (name === undefined) return ''
    if (kind === 0) return `${exported}function ${name}(${params}) {\n${body}\n}`
    if (kind === 1) return `${exported}const ${name} = (${params}) => {\n${body}\n};`
    if (kind === 2) return `${exported}const ${name} = function inner(${params}) {\n${body}\n};`
    // One that is made by another.
    return `const ${name} = ((${params}) => {\n${body}\n})(${argument});`
  }

  /** Plain names, or what V8 keeps in a scope of its own. */
  #parameters(names: Names): string {
    const first = this.#parameter(names, 'p')
    if (this.#chance(0.5)) return first
    const text = `${first} = ${this.#between(1, 9)}`
    switch (this.#between(0, 2)) {
      case 0: {
        const other = this.#parameter(names, 'p')
        return `${text}, { ${other} } = { ${other}: ${first} + 1 }`
      }
      case 1: {
        const other = this.#parameter(names, 'p')
        return `${text}, [${other} = ${first} * 2] = [], ...rest`
      }
      default: {
        const made = this.#name('g')
        names.functions.push(made)
        names.declared.add(made)
        return `${text}, ${made} = (x) => x + ${first}`
      }
    }
  }

  #parameter(names: Names, prefix: string): string {
    const name = this.#name(prefix)
    names.numbers.push(name)
    names.declared.add(name)
    return name
  }

  #class(names: Names, exported: string): string {
    const base = names.classes.length > 0 && this.#chance(0.5) ? this.#pick(names.classes) : undefined
    const [field, method, fixed] = [this.#number(names), this.#number(names), this.#number(names)]
    const name = this.#declare(names, names.classes, 'C')
    if (name === undefined) return ''
    const heritage = base === undefined ? '' : ` extends ${base}`
    const call = base === undefined ? 'x' : 'super.m(x)'
    const members = `static s = ${fixed}; v = ${field}; #p = ${this.#between(1, 9)}; m(x) { return ${call} + this.v + this.#p + ${method} } static t() { return this.s + ${fixed} } get w() { return this.v * 3 }`
    return this.#chance(0.7)
      ? `${exported}class ${name}${heritage} { ${members} }`
      : `${exported}const ${name} = class${heritage} { ${members} };`
  }

  #counter(names: Names): string {
    const start = this.#number(names)
    const name = this.#declare(names, names.counters, 'k')
    if (name === undefined) return ''
    return `const ${name} = (() => { let count = ${start}; return { up: () => ++count, read: () => count } })();`
  }

  #pattern(names: Names): string {
    const [a, b] = [this.#number(names), this.#number(names)]
    const one = this.#declare(names, names.numbers, 'd')
    const two = this.#declare(names, names.numbers, 'e')
    if (one === undefined || two === undefined) return one === undefined ? '' : `const ${one} = ${a};`
    return `const { ${one}, x: [${two} = ${b}] } = { ${one}: ${a}, x: [${this.#chance(0.5) ? b : 'undefined'}] };`
  }

  #collection(names: Names): string {
    const value = this.#number(names)
    const name = this.#declare(names, names.maps, 'm')
    return name === undefined
      ? ''
      : `const ${name} = new Map([['a', ${value}], ['b', new Set([${value}, 2])], ['f', (x) => x + ${value}]]);`
  }

  #loop(names: Names): string {
    const value = this.#number(names)
    const name = this.#declare(names, names.lists, 'a')
    return name === undefined
      ? ''
      : `const ${name} = []; for (let i = 0; i < 3; i++) { const sq = i * i; ${name}.push((x) => x + sq + i + ${value}); }`
  }

  #number(names: Names, depth = 0): string {
    const options: (() => string)[] = [() => String(this.#between(0, 99))]
    if (names.numbers.length > 0)
      options.push(
        () => this.#pick(names.numbers),
        () => this.#pick(names.numbers),
      )
    if (depth < 2) {
      options.push(
        () =>
          `(${this.#number(names, depth + 1)} ${this.#pick(['+', '-', '*'])} ${this.#number(names, depth + 1)}) % 1009`,
      )
      const inner = (): string => this.#number(names, depth + 1)
      if (names.functions.length > 0) options.push(() => `${this.#pick(names.functions)}(${inner()})`)
      if (names.objects.length > 0) {
        options.push(
          () => `${this.#pick(names.objects)}.f(${inner()})`,
          () => `${this.#pick(names.objects)}.g`,
        )
        options.push(
          () => `${this.#pick(names.objects)}.h(${inner()})`,
          () => `${this.#pick(names.objects)}.n[1].d`,
        )
      }
      if (names.classes.length > 0) {
        options.push(
          () => `new ${this.#pick(names.classes)}().m(${inner()})`,
          () => `${this.#pick(names.classes)}.t()`,
        )
        options.push(() => `new ${this.#pick(names.classes)}().w`)
      }
      if (names.maps.length > 0) {
        options.push(
          () => `${this.#pick(names.maps)}.get('a')`,
          () => `${this.#pick(names.maps)}.get('f')(${inner()})`,
        )
      }
      if (names.lists.length > 0) options.push(() => `${this.#pick(names.lists)}[${this.#between(0, 2)}](${inner()})`)
      if (names.counters.length > 0) options.push(() => `${this.#pick(names.counters)}.read()`)
    }
    return this.#pick(options)()
  }

  /** Has effects on what is captured, and looks at them. */
  #expressionBody(names: Names, lets: readonly string[], top: Names, isImportable: boolean): string {
    const lines: string[] = ['const out = [];']
    for (let i = 0; i < this.#between(2, 5); i++) {
      // Exported classes look at the variables of their module, closures at copies of these.
      const counters = isImportable ? names.counters.filter((name) => !top.counters.includes(name)) : names.counters
      if (counters.length > 0 && this.#chance(0.6)) lines.push(`${this.#pick(counters)}.up();`)
      if (lets.length > 0 && this.#chance(0.5)) lines.push(`${this.#pick(lets)} += ${this.#between(1, 5)};`)
      lines.push(`out.push(trace(${this.#number(names)}));`)
    }
    lines.push('return out;')
    return lines.join(' ')
  }
}

/** What can be referred to, by kind. */
class Names {
  readonly declared = new Set<string>()
  numbers: string[] = []
  lets: string[] = []
  /** Those that the shipped function may change: not top-level ones, which an imported module keeps for itself. */
  localLets: string[] = []
  get allLets(): string[] {
    return [...this.lets, ...this.localLets]
  }
  objects: string[] = []
  functions: string[] = []
  classes: string[] = []
  counters: string[] = []
  maps: string[] = []
  lists: string[] = []

  /** The names of a scope inside, where more can be declared. */
  inner(): Names {
    const names = new Names()
    const kinds = ['numbers', 'objects', 'functions', 'classes', 'counters', 'maps', 'lists'] as const
    for (const kind of kinds) names[kind] = [...this[kind]]
    return names
  }
}
