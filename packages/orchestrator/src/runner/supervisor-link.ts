import type { HealthReport, StopReason } from '@quintet/core'
import { connect, type Socket } from 'node:net'
import { jsonLines, type JsonLines } from '../control/json-lines.ts'
import { controlVariables, type ProcessMessage } from '../control/messages.ts'

export interface SupervisorLinkOptions {
  readonly path: string
  readonly token: string
  readonly report: () => Promise<HealthReport>
  /** Told why the SIGTERM that follows comes. */
  readonly stopping: (reason: StopReason) => void
  /** Told that the standby ends. */
  readonly takeOver: () => void
  /** Told that another generation has taken over. */
  readonly giveWay: () => void
}

/** A process's connection to its supervisor. It keeps serving when it is cut off, and tries to come back. */
export interface SupervisorLink {
  send(message: ProcessMessage): void
  /** Resolves when the supervisor has been told everything, or cannot be. */
  close(): Promise<void>
}

const reconnectAfter = 100

/** How long a process that ends tries to tell why, in milliseconds. */
const closeTimeout = 2_000

/** Reads where the supervisor is; undefined in a process without one. */
export function findSupervisor(env: NodeJS.ProcessEnv): { path: string; token: string } | undefined {
  const path = env[controlVariables.socket]
  const token = env[controlVariables.token]
  return path && token ? { path, token } : undefined
}

export function linkToSupervisor(options: SupervisorLinkOptions): SupervisorLink {
  let lines: JsonLines | undefined
  let socket: Socket | undefined
  let closed = false
  let retry: NodeJS.Timeout | undefined
  /** What the supervisor has to hear again after a reconnection. */
  let state: ProcessMessage | undefined
  let waiting: ProcessMessage[] = []
  let onConnected = (): void => undefined

  function open(): void {
    const current = connect(options.path)
    socket = current
    current.unref()
    const channel = jsonLines(current, (message) => void answer(message))
    current.once('connect', () => {
      lines = channel
      channel.send({ type: 'hello', token: options.token } satisfies ProcessMessage)
      for (const message of state && !waiting.includes(state) ? [state, ...waiting] : waiting)
        channel.send(message)
      waiting = []
      onConnected()
    })
    current.once('close', () => {
      lines = undefined
      if (closed) return
      retry = setTimeout(open, reconnectAfter)
      retry.unref()
    })
  }

  async function answer(message: Readonly<Record<string, unknown>>): Promise<void> {
    if (message['type'] === 'stopping') options.stopping(message['reason'] as StopReason)
    if (message['type'] === 'take-over') options.takeOver()
    if (message['type'] === 'give-way') options.giveWay()
    if (message['type'] !== 'probe') return
    const report = await options.report()
    lines?.send({ type: 'report', probe: Number(message['probe']), report } satisfies ProcessMessage)
  }

  /** A process that fails at once ends before its connection stands, and the reason must not be lost. */
  function untilConnected(): Promise<void> {
    return within(closeTimeout, (done) => {
      onConnected = done
      socket?.ref()
    })
  }

  open()
  return {
    send(message) {
      if (message.type === 'ready' || message.type === 'standby' || message.type === 'stopping')
        state = message
      if (lines) lines.send(message)
      else waiting.push(message)
    },
    async close() {
      if (waiting.length > 0) await untilConnected()
      closed = true
      clearTimeout(retry)
      if (!socket || socket.destroyed) return
      await within(closeTimeout, (done) => {
        socket?.ref()
        socket?.end(done)
      })
    },
  }
}

function within(ms: number, run: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    run(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
