export { compressionDefaults, type CompressionOptions } from './http/compression.ts'
export type { CorsOptions } from './http/cors.ts'
export { http } from './http/http.ts'
export { httpDefaults, type HttpOptions, type OpenApiOptions } from './http/options.ts'
export {
  defaultSecurityHeaders,
  strictTransportSecurity,
  type SecurityHeaders,
} from './http/security-headers.ts'
export { serverErrorCodes, type ServerErrorCode } from './errors.ts'
export { createDocument, type DocumentSource, type OpenApiDocument } from './openapi/document.ts'
export type { JsonSchema, SchemaConverter, SchemaConverters } from './openapi/json-schema.ts'
export { statusOf, toProblem, type Problem } from './problem.ts'
export { closeCode } from './socket/close-codes.ts'
export { webSocketDefaults, type WebSocketOptions } from './socket/options.ts'
export { rpcProtocolName } from './socket/rpc-protocol.ts'
export { websocket } from './socket/websocket.ts'
