import { describe, expect, it } from 'vitest'
import { generateNginxConfig, type NginxOptions } from '../../src/nginx.ts'

const routes = [{ name: 'app', path: '/api/app/', upstreams: ['http://127.0.0.1:3000'] }]
const redis = { host: '127.0.0.1', port: 6379 }
const config = (options: Partial<NginxOptions> = {}): string =>
  generateNginxConfig({ routes, ...options })['nginx.conf'] ?? ''

describe('generateNginxConfig', () => {
  it('needs no Lua without maintenance and tenants', () => {
    expect(Object.keys(generateNginxConfig({ routes }))).toEqual(['nginx.conf'])
    expect(config()).not.toContain('lua')
  })

  it('writes what it is told', () => {
    const text = config({
      host: '0.0.0.0',
      port: 8088,
      workers: 3,
      maxHeaderSize: '8kb',
      maxConnections: 50,
      modules: ['/modules/lua.so'],
      trustedCertificates: '/own/ca.pem',
      retries: false,
      trustedProxies: ['10.0.0.0/8'],
      timeouts: {
        connect: '3s',
        requestHeaders: '4s',
        keepAlive: '5s',
        upstreamKeepAlive: '2s',
        headers: '6s',
        idle: '7s',
      },
      securityHeaders: { 'x-own': '1' },
      routes: [
        {
          ...routes[0]!,
          upstreams: [
            { url: 'http://a:1', weight: 9 },
            { url: 'http://b', weight: 0 },
          ],
          maxRequestSize: '1kb',
          maxConcurrentRequests: 7,
          stripPrefix: false,
        },
        { name: 'sharded', path: '/s/', upstreams: ['https://c'], affinity: { cookie: 'shard' } },
        { name: 'least', path: '/l/', upstreams: ['http://d:1', 'http://e:1'], affinity: 'client' },
      ],
    })
    for (const part of [
      'listen 0.0.0.0:8088;',
      'worker_processes 3;',
      'large_client_header_buffers 4 8192;',
      'worker_connections 100;',
      'load_module "/modules/lua.so";',
      'proxy_next_upstream off;',
      'set_real_ip_from 10.0.0.0/8;',
      'proxy_connect_timeout 3000ms;',
      'client_header_timeout 4000ms;',
      'keepalive_timeout 5000ms;',
      'keepalive_timeout 2000ms;',
      'proxy_set_header x-forwarded-ssl "";',
      'proxy_read_timeout 7000ms;',
      'add_header x-own "1" always;',
      'server a:1 weight=900',
      'server b:80 down',
      'client_max_body_size 1024;',
      'limit_conn gateway_app 7;',
      'proxy_pass http://gateway_app$gateway_path_app;',
      'server c:443',
      'proxy_pass https://gateway_sharded$gateway_path_sharded;',
      'proxy_ssl_verify on;',
      'proxy_ssl_name c;',
      'proxy_ssl_trusted_certificate "/own/ca.pem";',
      'hash $gateway_key_sharded consistent;',
      'map $cookie_shard $gateway_key_sharded',
      'map $remote_addr $gateway_key_least',
    ]) {
      expect(text).toContain(part)
    }
  })

  it('gives 503 a Retry-After beside the other headers, and WebSockets no limit of silence', () => {
    const text = generateNginxConfig({ routes: [{ ...routes[0]!, websocket: true }] })['nginx.conf'] ?? ''
    expect(text).toMatch(/@problem_503 \{[^}]*add_header x-request-id[^}]*add_header Retry-After 1 always/)
    expect(text).toMatch(/location @upgrade \{[^}]*proxy_read_timeout 30d/)
  })

  it.each([[['http://a', 'https://b']], [['https://a', 'https://b']]])(
    'refuses upstreams that nginx cannot verify by one name: %s',
    (upstreams) => {
      expect(() => generateNginxConfig({ routes: [{ ...routes[0]!, upstreams }] })).toThrow('one host name')
    },
  )

  it('writes quotes and semicolons of a header so that they stay in it', () => {
    const value = `default-src 'none'; report-to "a\\b"`
    expect(config({ securityHeaders: { 'content-security-policy': value } })).toContain(
      `add_header content-security-policy "default-src 'none'; report-to \\"a\\\\b\\"" always;`,
    )
  })

  it('keeps secrets out of the files', () => {
    const files = generateNginxConfig({
      routes,
      maintenance: {
        redis: { ...redis, database: 2, passwordFrom: 'REDIS_PASSWORD' },
        resolver: '127.0.0.53',
        allow: { tokenFrom: 'TOKEN', addresses: ['10.0.0.0/8'] },
      },
    })
    expect(files['nginx.conf']).toContain('env REDIS_PASSWORD;\nenv TOKEN;')
    expect(files['nginx.conf']).toContain('resolver 127.0.0.53;')
    expect(files['nginx.conf']).toContain('geo $gateway_operator_address { default 0; 10.0.0.0/8 1; }')
    expect(files['lua/quintet_gateway.lua']).toContain('os.getenv("REDIS_PASSWORD")')
    expect(files['lua/quintet_gateway.lua']).toContain('client:select(2)')
  })

  const wrong: readonly (readonly [string, unknown, string])[] = [
    ['an unknown option', { routes, wokers: 1 }, 'Did you mean "workers"?'],
    [
      'a rate limit',
      { routes: [{ ...routes[0], rateLimit: { limiter: { consume() {} } } }] },
      'cannot be generated',
    ],
    [
      'a host without a resolver',
      { routes, maintenance: { redis: { host: 'redis', port: 6379 } } },
      'resolver',
    ],
    [
      'a prefix that ends its quotes',
      { routes, maintenance: { redis, prefix: 'a"; x' } },
      'can be written into a configuration',
    ],
    ['a header that names a variable', { routes, securityHeaders: { 'x-a': '$host' } }, 'cannot be written'],
    [
      'no name of a variable',
      { routes, maintenance: { redis: { ...redis, passwordFrom: 'a b' } } },
      'is not the name of an environment variable',
    ],
    [
      'a port that is none',
      { routes, maintenance: { redis: { ...redis, port: 0 } } },
      'nginx.maintenance.redis.port',
    ],
    [
      'a cookie that ends its line',
      { routes: [{ ...routes[0], affinity: { cookie: 'a; x' } }] },
      'nginx.routes[0].affinity',
    ],
    ['no workers', { routes, workers: 0 }, 'nginx.workers'],
  ]
  it.each(wrong)('refuses %s', (_name, options, message) => {
    expect(() => generateNginxConfig(options as NginxOptions)).toThrow(message)
  })
})
