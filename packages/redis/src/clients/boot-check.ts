import { describeFailure, isRedisUnavailable } from '../errors.ts'

/** The oldest server that this package is tested against. */
const minimumVersion = '7.0.0'

/** What a server says about itself that matters here. */
export interface ServerFacts {
  readonly product: 'Redis' | 'Valkey'
  readonly version: string
  readonly policy: string
}

/** Reads `INFO`, which even servers that forbid `CONFIG` answer. */
export function parseServerFacts(info: string): ServerFacts {
  const fields = new Map<string, string>()
  for (const line of info.split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return {
    product: fields.has('valkey_version') ? 'Valkey' : 'Redis',
    // Valkey states the Redis version that it is compatible with here.
    version: fields.get('redis_version') ?? '0',
    policy: fields.get('maxmemory_policy') ?? 'unknown',
  }
}

/** What is wrong with a server, one sentence each; empty when it suits. */
export function findProblems(facts: ServerFacts, namesThatMustStay: readonly string[]): string[] {
  const problems: string[] = []
  if (compareVersions(facts.version, minimumVersion) < 0) {
    problems.push(
      `${facts.product} ${facts.version} is older than ${minimumVersion}, the oldest that is supported.`,
    )
  }
  if (namesThatMustStay.length > 0 && facts.policy !== 'noeviction') {
    problems.push(
      `maxmemory-policy is ${facts.policy}, so keys of ${namesThatMustStay.join(', ')} can be evicted. ` +
        'Set maxmemory-policy noeviction, best on a server of their own, since logical databases share one policy.',
    )
  }
  return problems
}

function compareVersions(a: string, b: string): number {
  const left = a.split('.').map(Number)
  const right = b.split('.').map(Number)
  for (let index = 0; index < 3; index++) {
    const difference = (left[index] || 0) - (right[index] || 0)
    if (difference !== 0) return difference
  }
  return 0
}

/**
 * Asks the server and finds its problems; a server that does not permit us `INFO` has one.
 *
 * @throws RedisError `ERR_REDIS_UNAVAILABLE` when it cannot answer now.
 */
export async function checkServer(
  client: { info(...sections: string[]): Promise<string> },
  namesThatMustStay: readonly string[],
): Promise<string[]> {
  let info: string
  try {
    info = await client.info()
  } catch (error) {
    if (isRedisUnavailable(error)) throw error
    return [`INFO failed (${describeFailure(error)}), so version and maxmemory-policy are not known.`]
  }
  return findProblems(parseServerFacts(info), namesThatMustStay)
}
