/** Why a WebSocket connection is closed, beyond the codes of RFC 6455. */
export const closeCode = {
  /** The process is about to stop; connect again after the time that it said. */
  goingAway: 1001,
  /** Too many messages at once, or an unknown kind of message. */
  policy: 1008,
  /** A message above what the server takes. */
  tooLarge: 1009,
  internal: 1011,
  /** The session ended: sign in again before connecting. */
  sessionEnded: 4401,
  /** The client reads too slowly. */
  slowConsumer: 4008,
} as const
