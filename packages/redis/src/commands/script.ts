import { createHash } from 'node:crypto'
import { option, type Option } from '@quintet/core/kit'

/** What running a script needs of a client; ioredis's clients fit. */
export interface ScriptClient {
  evalsha(sha: string, numberOfKeys: number, ...args: string[]): Promise<unknown>
  eval(lua: string, numberOfKeys: number, ...args: string[]): Promise<unknown>
}

/** The client as an option. */
export function scriptClientOption(): Option<ScriptClient> {
  return option.collaborator<ScriptClient>(['evalsha', 'eval'], 'a Redis client (ioredis)')
}

/** What is put before every key or channel: any text, also none. */
export function prefixOption(fallback?: string): Option<string> {
  return option.text(fallback, { pattern: /^[^]*$/, expected: 'a text' })
}

/** A Lua script that runs by its digest and is sent in full only to a server that does not know it. */
export type Script = (
  client: ScriptClient,
  keys: readonly string[],
  args: readonly (string | number)[],
) => Promise<unknown>

export function createScript(lua: string): Script {
  const sha = createHash('sha1').update(lua).digest('hex')
  return async (client, keys, args) => {
    const all = [...keys, ...args.map(String)]
    try {
      return await client.evalsha(sha, keys.length, ...all)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return client.eval(lua, keys.length, ...all)
    }
  }
}
