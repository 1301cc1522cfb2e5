import type { ClientMessage, ServerMessage } from '../../src/index.ts'

/** A WebSocket whose other end is the test. Its close handshake never completes by itself, as on a dead network. */
export class FakeSocket extends EventTarget {
  static sockets: FakeSocket[] = []
  readonly CONNECTING = 0
  readonly OPEN = 1
  readonly CLOSING = 2
  readonly CLOSED = 3
  readyState = 0
  readonly url: string
  readonly protocols: readonly string[]
  readonly sent: ClientMessage[] = []

  constructor(url: string, protocols: readonly string[]) {
    super()
    this.url = url
    this.protocols = protocols
    FakeSocket.sockets.push(this)
  }

  static get last(): FakeSocket {
    const socket = FakeSocket.sockets.at(-1)
    if (socket === undefined) throw new Error('no connection was made')
    return socket
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as ClientMessage)
  }

  close(): void {
    this.readyState = this.CLOSING
  }

  /** The server takes the connection. */
  open(): void {
    this.readyState = this.OPEN
    this.dispatchEvent(new Event('open'))
  }

  receive(message: ServerMessage | string): void {
    const data = typeof message === 'string' ? message : JSON.stringify(message)
    this.dispatchEvent(new MessageEvent('message', { data }))
  }

  /** The connection ends. */
  end(code: number, reason = ''): void {
    this.readyState = this.CLOSED
    this.dispatchEvent(Object.assign(new Event('close'), { code, reason }))
  }

  asked<Type extends ClientMessage['type']>(type: Type): Extract<ClientMessage, { type: Type }>[] {
    return this.sent.filter(
      (message): message is Extract<ClientMessage, { type: Type }> => message.type === type,
    )
  }

  /** Answers the latest subscribe request of a channel. */
  subscribed(channel: string, offset = 0, more: { recovered?: boolean } = {}): void {
    const request = this.asked('subscribe').findLast((each) => each.channel === channel)
    if (request === undefined) throw new Error(`${channel} was not subscribed to`)
    this.receive({
      id: request.id,
      type: 'subscribed',
      channel,
      epoch: 'e',
      offset,
      tag: `t${offset}`,
      ...more,
    })
  }
}
