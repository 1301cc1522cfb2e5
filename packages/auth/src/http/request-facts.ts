/** What an adapter tells about a request: the part of HTTP that authentication needs. */
export interface RequestFacts {
  readonly method: string
  /** Absolute, as the client addressed it; a proof of possession is made for it. */
  readonly url: string
  /** Every value of a header, by its lower-case name: one entry for each time that it was sent. */
  readonly header: (name: string) => readonly string[]
  /** True for a WebSocket handshake. */
  readonly upgrade: boolean
  /** The address of the other end of the connection: of a proxy, where one stands in between. */
  readonly address?: string | undefined
}

/** Whether headers ask for a WebSocket: over HTTP/1.1 (RFC 6455) or HTTP/2 (RFC 8441). No page can set them by itself. */
export function asksForWebSocket(header: RequestFacts['header']): boolean {
  return (
    header('upgrade').some((value) => /(?:^|[,\s])websocket(?:$|[,\s])/i.test(value)) ||
    header('sec-websocket-key').length > 0 ||
    header(':protocol').includes('websocket')
  )
}
