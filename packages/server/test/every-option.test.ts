import { readFileSync } from 'node:fs'
import { declaredOptions } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'

const http = (name: string): readonly [string, string] => ['http/options.test.ts', name]
const hostile = (name: string): readonly [string, string] => ['http/hostile.test.ts', name]
const routes = (name: string): readonly [string, string] => ['http/routes.test.ts', name]
const socket = (name: string): readonly [string, string] => ['socket/websocket.test.ts', name]
const link = (name: string): readonly [string, string] => ['link/links.test.ts', name]
const client = (name: string): readonly [string, string] => ['client/create-client.test.ts', name]

const where = 'port and host say where it listens; a port from outside wins'
const socketWhere = 'port, host and path say where it listens; a port from outside wins'
const inherited: readonly [string, string] = [
  'integration/inherited-socket.integration.test.ts',
  'is where http({ fd }) and websocket({ fd }) listen',
]
const reached = 'reaches the process that it asks for, of its own system, in its own folder'

/** Every declared option, and the test that shows its effect: the file under `test/`, and the name of the test in it. */
const shownBy: Readonly<Record<string, readonly [file: string, test: string]>> = {
  'HttpOptions.name': http('names the transport, its port and the ways in that it opens itself'),
  'HttpOptions.port': http(where),
  'HttpOptions.host': http(where),
  'HttpOptions.fd': inherited,
  'HttpOptions.cors': http('lets the listed origins call, and no other'),
  'HttpOptions.requestTimeout': hostile('that sends its body too slowly gets 408'),
  'HttpOptions.headersTimeout': hostile('that sends its headers too slowly gets 408'),
  'HttpOptions.keepAliveTimeout': http('keepAliveTimeout ends an idle connection'),
  'HttpOptions.maxRequestSize': routes('holds a streamed body to its own limit, or to that of the transport'),
  'HttpOptions.uploadProgressTimeout': routes('ends an upload that stands still with 408'),
  'HttpOptions.uploadPace': routes(
    'ends an upload that comes more slowly than it must, or takes too long, with 408',
  ),
  'HttpOptions.uploadTimeout': routes(
    'ends an upload that comes more slowly than it must, or takes too long, with 408',
  ),
  'HttpOptions.maxConnections': http('maxConnections closes what is above it'),
  'HttpOptions.maxBatchCalls': ['http/rpc.test.ts', 'too many calls'],
  'HttpOptions.maxBatchSize': ['http/rpc.test.ts', 'too many bytes'],
  'HttpOptions.plugins': http('plugins answer before the pipeline'),
  'HttpOptions.securityHeaders': http('have no HSTS elsewhere, can be replaced and dropped'),
  'HttpOptions.trustedProxies': http('trustedProxies are believed about scheme and host, and others are not'),
  'HttpOptions.origin': [
    'request/client.test.ts',
    'has the origin that is declared, whatever the client or a proxy says',
  ],
  'HttpOptions.compression': routes(
    'is compressed where that pays: text of some length, for a client that can',
  ),
  'HttpOptions.openapi': http('can be moved, kept from strangers and turned off'),
  'HttpOptions.websocket': [
    'socket/shared-port.test.ts',
    'answers calls over HTTP and over WebSocket on one port',
  ],
  'HttpOptions.adoptRequests': routes('leaves the global Request alone unless it is asked to adopt'),
  'HttpOptions.credentials': http('credentials reads them from elsewhere'),
  'OpenApiOptions.path': http('can be moved, kept from strangers and turned off'),
  'OpenApiOptions.docs': http('can be moved, kept from strangers and turned off'),
  'OpenApiOptions.access': http('can be moved, kept from strangers and turned off'),
  'OpenApiOptions.converters': [
    'openapi/document.test.ts',
    'describes every procedure and route, with its access rule and the schemas of each library',
  ],
  'CorsOptions.origins': http('lets the listed origins call, and no other'),
  'CorsOptions.credentials': http(
    'is off by default, may be open without credentials, and with credentials for listed origins',
  ),
  'CorsOptions.maxAge': http(
    'is off by default, may be open without credentials, and with credentials for listed origins',
  ),
  'CompressionOptions.threshold': routes(
    'is compressed where that pays: text of some length, for a client that can',
  ),
  'WebSocketOptions.name': socket('names the transport, its port and its ways in'),
  'WebSocketOptions.port': socket(socketWhere),
  'WebSocketOptions.host': socket(socketWhere),
  'WebSocketOptions.fd': inherited,
  'WebSocketOptions.path': socket(socketWhere),
  'WebSocketOptions.origins': socket('answers in plain HTTP to whom it does not let in'),
  'WebSocketOptions.access': socket('answers in plain HTTP to whom it does not let in'),
  'WebSocketOptions.protocols': socket('whose client does not read is bounded: %s'),
  'WebSocketOptions.trustedProxies': [
    'request/client.test.ts',
    'is known of a WebSocket too, with trusted proxies %j',
  ],
  'WebSocketOptions.keepAlive': socket('that does not answer to a ping is ended'),
  'WebSocketOptions.handshakeTimeout': socket('ends a client that does not finish it'),
  'WebSocketOptions.maxPayload': socket('answers to %s and keeps the connection for the other calls'),
  'WebSocketOptions.maxBufferedBytes': socket('whose client does not read is bounded: %s'),
  'WebSocketOptions.slowConsumer': socket('whose client does not read is bounded: %s'),
  'WebSocketOptions.maxConnections': socket('holds the number of connections, in all and of one user'),
  'WebSocketOptions.maxConnectionsPerUser': socket('holds the number of connections, in all and of one user'),
  'LinksOptions.directory': link(reached),
  'LinksOptions.secret': link('lets nobody in without the secret, on either side'),
  'LinksOptions.system': link(reached),
  'LinksOptions.process': link(reached),
  'LinksOptions.instance': link('spreads calls over the instances, and goes on with those that are left'),
  'LinksOptions.maxFrameSize': link('ends when a frame is larger than it takes'),
  'LinksOptions.timeout': link(
    'holds a call no longer than the timeout of the link, or the deadline of the call',
  ),
  'LinksOptions.keepAlive': link('is asked whether it lives, and left for another that does'),
  'LinksOptions.connectTimeout': link(
    'says within a bounded time that a sibling is missing, and recovers when it comes',
  ),
  'HttpLinkOptions.url': client('uses the fetch that it is given, and tells the server how long it waits'),
  'HttpLinkOptions.token': client('asks for the token before each call'),
  'HttpLinkOptions.fetch': client('uses the fetch that it is given, and tells the server how long it waits'),
  'HttpLinkOptions.maxEventSize': client('refuses an event of a stream that is too large'),
  'HttpLinkOptions.timeout': client(
    'says that there is no server, that it took too long, or why its caller gave up',
  ),
  'SocketLinkOptions.url': client(
    'asks for the token before each connection, and makes it with the WebSocket that it is given',
  ),
  'SocketLinkOptions.token': client(
    'asks for the token before each connection, and makes it with the WebSocket that it is given',
  ),
  'SocketLinkOptions.WebSocket': client(
    'asks for the token before each connection, and makes it with the WebSocket that it is given',
  ),
  'SocketLinkOptions.timeout': client('waits no longer than its timeout, and refuses options that are none'),
  'SocketLinkOptions.connectTimeout': [
    'client/socket-link.test.ts',
    'accepts the connection and says nothing is given up after connectTimeout, and tried again',
  ],
  'SocketLinkOptions.keepAlive': [
    'client/socket-link.test.ts',
    'rejects its calls, connects again and calls on',
  ],
  'DirectLinkOptions.token': client(
    'calls with a token, as a principal, or as nobody, and refuses both at once',
  ),
  'DirectLinkOptions.principal': client(
    'calls with a token, as a principal, or as nobody, and refuses both at once',
  ),
}

const declared = [
  ['options/http-options.ts', 'HttpOptions'],
  ['openapi/openapi-options.ts', 'OpenApiOptions'],
  ['request/cors.ts', 'CorsOptions'],
  ['request/content-coding.ts', 'CompressionOptions'],
  ['options/socket-options.ts', 'WebSocketOptions'],
  ['link.ts', 'LinksOptions'],
  ['client/http-link.ts', 'HttpLinkOptions'],
  ['client/socket-link.ts', 'SocketLinkOptions'],
  ['direct/direct-link.ts', 'DirectLinkOptions'],
] as const

describe('every option', () => {
  it('has a test that is named here', () => {
    const options = declared.flatMap(([file, name]) =>
      declaredOptions(new URL(`../src/${file}`, import.meta.url), name),
    )
    expect(Object.keys(shownBy).toSorted()).toEqual([...new Set(options)].toSorted())
  })

  it.each(Object.entries(shownBy))('%s is shown at work', (_option, [file, test]) => {
    expect(readFileSync(new URL(file, import.meta.url), 'utf8')).toContain(`'${test}'`)
  })
})
