import type { HealthReport, StopReason } from '@quintet/core'
import { connect, type Socket } from 'node:net'
import { jsonLines, type JsonLines } from '../control/json-lines.ts'
import { controlVariables, type ProcessMessage } from '../control/messages.ts'

export interface SupervisorLinkOptions {
  readonly path: string
  readonly token: string
  readonly report: () => Promise<HealthReport>
  readonly stop: (reason: StopReason) => void
}

/** A process's connection to its supervisor. It keeps serving when it is cut off, and tries to come back. */
export interface SupervisorLink {
  send(message: ProcessMessage): void
  close(): void
}

const reconnectAfter = 250

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
  let ready: ProcessMessage | undefined
  let waiting: ProcessMessage[] = []

  function open(): void {
    const current = connect(options.path)
    socket = current
    current.unref()
    const channel = jsonLines(current, (message) => void answer(message))
    current.once('connect', () => {
      lines = channel
      channel.send({ type: 'hello', token: options.token } satisfies ProcessMessage)
      for (const message of ready && !waiting.includes(ready) ? [ready, ...waiting] : waiting)
        channel.send(message)
      waiting = []
    })
    current.once('close', () => {
      lines = undefined
      if (closed) return
      retry = setTimeout(open, reconnectAfter)
      retry.unref()
    })
  }

  async function answer(message: Readonly<Record<string, unknown>>): Promise<void> {
    if (message['type'] === 'stop') options.stop((message['reason'] as StopReason | undefined) ?? 'shutdown')
    if (message['type'] !== 'probe') return
    const report = await options.report()
    lines?.send({ type: 'report', probe: Number(message['probe']), report } satisfies ProcessMessage)
  }

  open()
  return {
    send(message) {
      if (message.type === 'ready') ready = message
      if (lines) lines.send(message)
      else waiting.push(message)
    },
    close() {
      closed = true
      clearTimeout(retry)
      socket?.end()
    },
  }
}
