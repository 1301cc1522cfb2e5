export { compressionDefaults, type CompressionOptions } from './request/content-coding.ts'
export type { CorsOptions } from './request/cors.ts'
export { http } from './http/http.ts'
export type { OpenApiOptions } from './openapi/openapi-options.ts'
export { httpDefaults, type HttpOptions } from './options/http-options.ts'
export { serverErrorCodes, type ServerErrorCode } from './errors.ts'
export {
  createDocument,
  type DocumentOptions,
  type DocumentSource,
  type OpenApiDocument,
} from './openapi/document.ts'
export type { JsonSchema, SchemaConverter, SchemaConverters } from './openapi/json-schema.ts'
export { serverStatuses } from './problem.ts'
export { webSocketDefaults, type WebSocketOptions } from './options/socket-options.ts'
export { rpcProtocolName } from './socket/rpc-protocol.ts'
export { websocket } from './socket/websocket.ts'
