import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'

const logger = new URL('../../src/logger.ts', import.meta.url).href

/** What a process writes to its standard output, and the signal that ended it. */
async function outputOf(
  code: string,
): Promise<{ readonly messages: readonly unknown[]; readonly signal: string | null }> {
  const script = `import { createLogger } from '${logger}'\nconst logger = createLogger()\n${code}`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const closed = once(child, 'close') as Promise<[number | null, string | null]>
  const written = await text(child.stdout)
  const [, signal] = await closed
  const lines = written.split('\n').filter((line) => line !== '')
  return { messages: lines.map((line) => (JSON.parse(line) as { msg: unknown }).msg), signal }
}

describe('a logger that writes to standard output', () => {
  it('writes its lines soon, without an exit', async () => {
    const { messages, signal } = await outputOf(`
      logger.info({}, 'one')
      logger.child({ a: 1 }).info({}, 'two')
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), 500)`)
    expect([messages, signal]).toEqual([['one', 'two'], 'SIGKILL'])
  })

  it('writes a fatal line before anything else happens, with those before it, in order', async () => {
    const { messages, signal } = await outputOf(`
      logger.info({}, 'one')
      createLogger().info({}, 'of another logger')
      logger.fatal({}, 'two')
      process.kill(process.pid, 'SIGKILL')`)
    expect([messages, signal]).toEqual([['one', 'of another logger', 'two'], 'SIGKILL'])
  })

  it('loses nothing when the process exits, also not what is logged while it does', async () => {
    const { messages } = await outputOf(`
      process.on('exit', () => logger.info({}, 'three'))
      logger.info({}, 'one')
      process.once('exit', () => logger.info({}, 'four'))
      logger.info({}, 'two')
      process.exit(0)`)
    expect(messages).toEqual(['one', 'two', 'three', 'four'])
  })

  it('loses nothing to an uncaught error', async () => {
    const { messages } = await outputOf(`
      logger.info({}, 'one')
      throw new Error('unexpected')`)
    expect(messages).toEqual(['one'])
  })

  it('goes through a process.stdout.write that something has put in place', async () => {
    const { messages } = await outputOf(`
      const write = process.stdout.write.bind(process.stdout)
      process.stdout.write = (line) => write(line.replace('secret', 'seen'))
      createLogger().info({}, 'secret')`)
    expect(messages).toEqual(['seen'])
  })

  it('goes on while its reader stands still', async () => {
    const script = `import { createLogger } from '${logger}'
      const logger = createLogger()
      for (let index = 0; index < 20_000; index++) logger.info({}, 'x'.repeat(100))
      logger.warn({}, 'last')
      setTimeout(() => process.stderr.write('alive'), 50)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script])
    await once(child.stderr, 'data')
    expect((await text(child.stdout)).trimEnd().split('\n')).toHaveLength(20_001)
  })

  it('writes a flood in pieces', async () => {
    const { messages } = await outputOf(`
      for (let index = 0; index < 20_000; index++) logger.info({}, String(index))`)
    expect(messages).toEqual(Array.from({ length: 20_000 }, (_, index) => String(index)))
  })
})
