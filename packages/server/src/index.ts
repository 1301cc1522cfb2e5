export { compressionDefaults, type CompressionOptions } from './request/content-coding.ts'
export type { CorsOptions } from './request/cors.ts'
export { http } from './http/http.ts'
export type { OpenApiOptions } from './openapi/openapi-options.ts'
export { httpDefaults, type HttpOptions } from './options/http-options.ts'
export {
  defaultSecurityHeaders,
  strictTransportSecurity,
  type SecurityHeaders,
} from './options/security-headers.ts'
export { serverErrorCodes, type ServerErrorCode } from './errors.ts'
export { createDocument, type DocumentSource, type OpenApiDocument } from './openapi/document.ts'
export type { JsonSchema, SchemaConverter, SchemaConverters } from './openapi/json-schema.ts'
export { statusOf, toProblem, type Problem } from './problem.ts'
export { closeCode } from './socket/close-codes.ts'
export { webSocketDefaults, type WebSocketOptions } from './options/socket-options.ts'
export { rpcProtocolName } from './socket/rpc-protocol.ts'
export { websocket } from './socket/websocket.ts'
