import { option, readOptions } from '@quintet/core/kit'
import { queueDefaults } from './create-queue.ts'

export interface QueueRedisAclOptions {
  /** That of the queue. @defaultValue `'quintet'` */
  readonly prefix?: string
}

const spec = {
  // What has a meaning in a pattern would permit more than the prefix.
  prefix: option.text(queueDefaults.prefix, {
    pattern: /^[\w\-{}.]{1,100}$/,
    expected: 'the prefix of a queue',
  }),
}

/**
 * The least rights of a Redis user that adds and runs jobs, as rules of `ACL SETUSER`: the keys of the queues under one
 * prefix, and no command that looks at others, or at the server. Add `on` and a password.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * await redis.call('ACL', 'SETUSER', 'jobs', 'reset', 'on', `>${password}`, ...queueRedisAcl())
 */
export function queueRedisAcl(options: QueueRedisAclOptions = {}): readonly string[] {
  const { prefix } = readOptions<QueueRedisAclOptions, typeof spec>(options, spec, 'queueRedisAcl')
  return [
    `~${prefix}:*`,
    // The scripts of BullMQ use nearly all commands on data, and not the same ones in each of its versions.
    ...['+@read', '+@write', '+@transaction', '-@dangerous', '-scan', '-randomkey', '-dbsize'],
    ...['+eval', '+evalsha', '+time', '+ping', '+info', '+select', '+client|setname', '+client|id'],
  ]
}
