/** One difference between two snapshots. */
export interface PolicyChange extends Change {
  /** The table, view, function, schema or role. */
  readonly object: string
}

/** What changes about one object. */
export interface Change {
  /**
   * `safe`: no role sees or may do more, and nothing stops working. `breaking`: something that worked may
   * be refused. `dangerous`: a role may see or do more than before.
   */
  readonly class: 'safe' | 'breaking' | 'dangerous'
  readonly change: string
  /** For a dangerous one: the roles that may see or do more, `public` for every role. */
  readonly roles: readonly string[]
  readonly gain: 'see' | 'do' | 'see and do'
}

export function changeOf(
  kind: Change['class'],
  change: string,
  roles: readonly string[] = [],
  gain: Change['gain'] = 'see and do',
): Change {
  return { class: kind, change, roles, gain }
}

/** The roles that are not among the others, each once. */
export function without(roles: readonly string[], others: ReadonlySet<string>): readonly string[] {
  return [...new Set(roles)].filter((role) => !others.has(role))
}
