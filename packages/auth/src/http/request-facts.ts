/** What an adapter tells about a request: the part of HTTP that authentication needs. */
export interface RequestFacts {
  readonly method: string
  /** Absolute, as the client addressed it; a proof of possession is made for it. */
  readonly url: string
  /** Every value of a header, by its lower-case name: one entry for each time that it was sent. */
  readonly header: (name: string) => readonly string[]
  /** True for a WebSocket handshake. */
  readonly upgrade: boolean
}
