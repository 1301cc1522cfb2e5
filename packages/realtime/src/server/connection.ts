import type { SocketConnection, TransportHost } from '@quintet/core/kit'

/** What a session needs of its connection. */
export type RealtimeConnection = Pick<
  SocketConnection,
  'id' | 'principal' | 'credentials' | 'signal' | 'send' | 'bufferedBytes' | 'close' | 'renew'
>

/** What channels need of the process that they run in. */
export type RealtimeHost = Pick<TransportHost, 'pipeline' | 'services' | 'logger'>
