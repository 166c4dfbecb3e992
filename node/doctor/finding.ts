/** What one check has found out. */
export interface Finding {
  readonly name: string
  /** `warn`: it works, but not as well as it could, or not for long. `fail`: it does not work. */
  readonly level: 'ok' | 'warn' | 'fail'
  readonly found: string
  /** What to do about it; empty where there is nothing to do. */
  readonly advice: string
}

export function ok(name: string, found: string): Finding {
  return { name, level: 'ok', found, advice: '' }
}

export function warn(name: string, found: string, advice: string): Finding {
  return { name, level: 'warn', found, advice }
}

export function fail(name: string, found: string, advice: string): Finding {
  return { name, level: 'fail', found, advice }
}
