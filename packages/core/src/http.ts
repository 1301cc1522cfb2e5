export { bearerChallenge, type Challenge } from './access/challenge.ts'
export {
  canonicalAddress,
  networkOf,
  parseAddressList,
  plainAddress,
  type AddressList,
} from './http/address-list.ts'
export { bearerPrefix, offeredProtocols, type OfferedProtocols } from './http/bearer-protocol.ts'
export { closeCode, closeFrame, textFrame } from './http/close-frame.ts'
export type { AnyServer } from './http/connections/connection.ts'
export {
  trackConnections,
  type Connections,
  type TrackConnectionsOptions,
} from './http/connections/track-connections.ts'
export { endEventStream, isEventStream } from './http/connections/event-streams.ts'
export { stopListening } from './http/connections/stop-listening.ts'
export { readForwarded, unknownAddress, type Forwarded } from './http/forwarded.ts'
export { abandonAnswer, headersBesideAnswer } from './http/abandoned-answer.ts'
export { refusedByFramework, toErrorAnswer, type ErrorAnswer } from './http/error-answer.ts'
export { safeErrorListener, type ErrorListener } from './http/error-listener.ts'
export { isHost } from './http/host.ts'
export { inheritedSockets } from './transport/inherited-sockets.ts'
export { listen, listeningUrl, type ListenOptions } from './transport/listen.ts'
export { openListener, type Listener, type ListenerOptions } from './transport/listener.ts'
export {
  fromProblem,
  problemHeaders,
  retryAfterSeconds,
  statusOf,
  titleOf,
  toProblem,
  type FromProblemOptions,
  type Problem,
  type Statuses,
  type ToProblemOptions,
} from './http/problem.ts'
export { writeRawProblem, writeRawResponse, type RawResponse } from './http/raw-response.ts'
export { requestIdOf, traceparentOf } from './http/request-id.ts'
export {
  apiSecurityHeaders,
  defaultSecurityHeaders,
  resolveSecurityHeaders,
  strictTransportSecurity,
  type SecurityHeaders,
} from './http/security-headers.ts'
export { hasBody } from './http/has-body.ts'
