/** Events that are taken one at a time, in order: what is sent while one is handled waits for its turn. */
export interface Mailbox<Event> {
  send(event: Event): void
  /** Runs something as if it were an event that comes now. */
  run(task: () => void): void
}

export function createMailbox<Event>(handle: (event: Event) => void): Mailbox<Event> {
  const waiting: (() => void)[] = []
  let busy = false

  function run(task: () => void): void {
    waiting.push(task)
    if (busy) return
    busy = true
    try {
      for (let next = waiting.shift(); next; next = waiting.shift()) next()
    } finally {
      busy = false
    }
  }

  return { send: (event) => run(() => handle(event)), run }
}
