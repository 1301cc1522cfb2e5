/** One user who has come or gone. */
export interface PresenceChange {
  readonly event: 'join' | 'leave'
  readonly user: string
}

/** The users of a topic of whom its subscribers on this instance have been told. */
export interface PresenceView {
  /** Takes the users that a new subscriber was answered with. */
  add(users: readonly string[]): void
  /** Reads a presence notice of the feed: what the subscribers are to be told. Undefined for any other message. */
  receive(message: string): readonly PresenceChange[] | undefined
}

export function createPresenceView(): PresenceView {
  const known = new Set<string>()

  function apply(change: PresenceChange): PresenceChange {
    if (change.event === 'join') known.add(change.user)
    else known.delete(change.user)
    return change
  }

  /** The changes that lead from what is known to all users who are here. */
  function compare(here: ReadonlySet<string>): readonly PresenceChange[] {
    const gone = [...known.difference(here)].map((user) => ({ event: 'leave', user }) as const)
    const come = [...here.difference(known)].map((user) => ({ event: 'join', user }) as const)
    return [...gone, ...come].map(apply)
  }

  return {
    add(users) {
      for (const user of users) known.add(user)
    },
    receive(message) {
      if (message.startsWith('s\n')) return compare(new Set(JSON.parse(message.slice(2)) as string[]))
      if (!message.startsWith('p\n')) return undefined
      const [, event, ...user] = message.split('\n')
      return [apply({ event: event === 'join' ? 'join' : 'leave', user: user.join('\n') })]
    },
  }
}
