/** What proxies write about where a request comes from, beside `X-Forwarded-*`, and apps believe. */
const claims: ReadonlySet<string> = new Set([
  'cf-connecting-ip',
  'cf-connecting-ipv6',
  'client-ip',
  'fastly-client-ip',
  'forwarded-for',
  'front-end-https',
  'remote-user',
  'true-client-ip',
  'x-appengine-user-ip',
  'x-azure-clientip',
  'x-azure-socketip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-envoy-external-address',
  'x-forwarded',
  'x-host',
  'x-http-host-override',
  'x-proxyuser-ip',
  'x-remote-addr',
  'x-remote-ip',
  'x-remote-user',
  'x-rewrite-uri',
  'x-rewrite-url',
  'x-scheme',
  'x-ssl',
  'x-url-scheme',
])

/** Families of such names. */
const families = ['x-forwarded-', 'x-original-', 'x-auth-request-', 'x-ssl-client-', 'ssl-client-']

/** Members of the families that apps are known to believe, where names have to be listed. */
const members: readonly string[] = [
  ...['access-token', 'client-cert', 'email', 'groups', 'path', 'port', 'preferred-username', 'protocol'].map(
    (name) => `x-forwarded-${name}`,
  ),
  ...['scheme', 'server', 'ssl', 'uri', 'user'].map((name) => `x-forwarded-${name}`),
  ...['forwarded-for', 'host', 'proto', 'uri', 'url'].map((name) => `x-original-${name}`),
  ...['access-token', 'email', 'groups', 'preferred-username', 'user'].map(
    (name) => `x-auth-request-${name}`,
  ),
  ...['cert', 's-dn', 'verify'].flatMap((name) => [`ssl-client-${name}`, `x-ssl-client-${name}`]),
]

/** Whether a header says where a request comes from, so that only a trusted proxy may write it. */
export function isOriginClaim(name: string): boolean {
  return claims.has(name) || families.some((family) => name.startsWith(family))
}

/** The names that a server must be told one by one. */
export const knownOriginClaims: readonly string[] = [...claims, ...members]
