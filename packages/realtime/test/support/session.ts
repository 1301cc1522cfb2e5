import { randomUUID } from 'node:crypto'
import { anonymous, type Principal } from '@quintet/core'
import type {
  Credentials,
  SocketConnection,
  SocketProtocol,
  SocketSession,
  TransportHost,
} from '@quintet/core/kit'
import { until } from '@quintet/test-kit'
import type { ServerMessage } from '../../src/index.ts'

export interface TestSession {
  /** Everything that the server has said. */
  readonly messages: ServerMessage[]
  readonly closedWith: readonly [code: number, reason: string] | undefined
  credentials: Credentials
  /** What waits to be sent; a test may claim anything. */
  bufferedBytes: number
  readonly session: SocketSession
  /** Sends a message and waits for the answer to it. */
  ask(message: Record<string, unknown>): Promise<ServerMessage & Record<string, unknown>>
  sendText(text: string | Uint8Array): void
  events(channel?: string): unknown[]
  close(): void
}

/** Opens a session of a protocol as the WebSocket transport does, with the wire in memory. */
export function openTestSession(
  protocol: SocketProtocol,
  host: TransportHost,
  token?: string,
  principal: Principal = anonymous,
): TestSession {
  const controller = new AbortController()
  const messages: ServerMessage[] = []
  let closedWith: readonly [number, string] | undefined
  const self: { credentials: Credentials; bufferedBytes: number } = {
    credentials: token === undefined ? { scheme: 'none' } : { scheme: 'bearer', token },
    bufferedBytes: 0,
  }
  const connection: SocketConnection = {
    id: randomUUID(),
    principal,
    get credentials() {
      return self.credentials
    },
    host,
    signal: controller.signal,
    send(message) {
      if (controller.signal.aborted) return false
      messages.push(JSON.parse(String(message)) as ServerMessage)
      return true
    },
    get bufferedBytes() {
      return self.bufferedBytes
    },
    async renew(next) {
      await host.pipeline.authorize({
        operation: {
          surface: 'message',
          name: 'connect',
          access: 'authenticated',
          freshness: undefined,
          timeout: 0,
        },
        credentials: { scheme: 'bearer', token: next },
        requestId: 'renew',
        signal: controller.signal,
      })
      self.credentials = { scheme: 'bearer', token: next }
    },
    close(code, reason) {
      closedWith ??= [code, reason]
      end()
    },
  }
  const session = protocol.open(connection)
  const end = (): void => {
    if (controller.signal.aborted) return
    controller.abort()
    session.closed(closedWith?.[0] ?? 1000)
  }
  let nextId = 1
  return {
    messages,
    session,
    get closedWith() {
      return closedWith
    },
    get credentials() {
      return self.credentials
    },
    set credentials(value) {
      self.credentials = value
    },
    get bufferedBytes() {
      return self.bufferedBytes
    },
    set bufferedBytes(value) {
      self.bufferedBytes = value
    },
    async ask(message) {
      const id = nextId++
      session.message(JSON.stringify({ id, ...message }))
      return (await until(() =>
        messages.find((candidate) => 'id' in candidate && candidate.id === id),
      )) as ServerMessage & Record<string, unknown>
    },
    sendText: (text) => session.message(text),
    events: (channel) =>
      messages.flatMap((message) =>
        message.type === 'event' && (channel === undefined || message.channel === channel)
          ? [message.data]
          : [],
      ),
    close: end,
  }
}
