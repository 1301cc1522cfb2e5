/** Where a call comes from, as far as its surface knows. For limits, the audit log and the list of sessions. */
export interface ClientInfo {
  /**
   * The IP address of the client in its canonical form: that of the peer, or what trusted proxies say. Null where there
   * is none, e.g. for a job.
   */
  readonly address: string | null
  /** The `User-Agent` header, which anybody can set; null where there is none. */
  readonly userAgent: string | null
}

/** The client of a call that has none, e.g. a job, or of a surface that cannot tell. */
export const unknownClient: ClientInfo = Object.freeze({ address: null, userAgent: null })
