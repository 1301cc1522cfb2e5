export { createClient, type Client, type ClientProcedure } from './client/create-client.ts'
export { httpLink, httpLinkDefaults, type HttpLinkOptions } from './client/http-link.ts'
export {
  socketLink,
  socketLinkDefaults,
  type SocketLink,
  type SocketLinkOptions,
} from './client/socket-link.ts'
