import { describe, expect, it, vi } from 'vitest'
import { createLogger } from '../../src/logger.ts'
import { Secret } from '../../src/index.ts'

function lines(
  write: (logger: ReturnType<typeof createLogger>) => void,
  level?: 'debug' | 'silent',
): unknown[] {
  const written: string[] = []
  const destination = { write: (line: string) => void written.push(line) }
  write(createLogger({ destination, fields: { system: 'media' }, ...(level === undefined ? {} : { level }) }))
  return written.map((line) => JSON.parse(line))
}

describe('createLogger', () => {
  it('writes JSON with the level by name, an ISO time and its own fields', () => {
    expect(lines((logger) => logger.child({ requestId: 'r' }).info({ a: 1 }, 'hello'))).toEqual([
      {
        level: 'info',
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        system: 'media',
        requestId: 'r',
        a: 1,
        msg: 'hello',
      },
    ])
  })

  it('writes the time of each line to the millisecond, also when the clock is set back', () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    try {
      const times = [
        '2026-01-02T03:04:05.999Z',
        '2026-01-02T03:04:06.000Z',
        '2026-01-02T03:04:06.045Z',
        '2025-12-31T23:59:59.007Z',
      ]
      const written = lines((logger) => {
        for (const time of times) {
          vi.setSystemTime(new Date(time))
          logger.info({}, 'x')
        }
      })
      expect(written).toEqual(times.map((time) => expect.objectContaining({ time })))
    } finally {
      vi.useRealTimers()
    }
  })

  it('holds back what is below its level', () => {
    expect(lines((logger) => logger.debug({}, 'x'))).toHaveLength(0)
    expect(lines((logger) => logger.debug({}, 'x'), 'debug')).toHaveLength(1)
    expect(lines((logger) => logger.fatal({}, 'x'), 'silent')).toHaveLength(0)
  })

  it('writes no secret', () => {
    const secrets = {
      password: 'hunter2',
      token: 'hunter2',
      authorization: 'hunter2',
      'set-cookie': 'hunter2',
      apiKey: 'hunter2',
      private_key: 'hunter2',
      databasePassword: 'hunter2',
      credentials: 'hunter2',
    }
    const text = JSON.stringify(
      lines((logger) =>
        logger
          .child({ token: 'hunter2' })
          .child({ Authorization: 'hunter2' })
          .error({
            ...secrets,
            headers: secrets,
            call: { headers: secrets },
            list: [secrets],
            err: Object.assign(new Error('failed'), { details: secrets }),
            key: new Secret('hunter2'),
          }),
      ),
    )
    expect(text).not.toContain('hunter2')
    expect(text).toContain('[redacted]')
    expect(text).toContain('[secret]')
  })

  it('writes no secret after any number of other names', () => {
    const many = Object.fromEntries(Array.from({ length: 3_000 }, (_, index) => [`name${index}`, index]))
    expect(
      lines((logger) => {
        logger.info(many)
        logger.info({ toKEN: 'hunter2', ACCESSTOKEN: { a: 1 }, other: 1 })
      })[1],
    ).toMatchObject({ toKEN: '[redacted]', ACCESSTOKEN: '[redacted]', other: 1 })
  })

  it('leaves the fields that it is given as they are', () => {
    const fields = { a: { token: 'hunter2' }, list: [1, 2] }
    lines((logger) => logger.info(fields))
    expect(fields).toEqual({ a: { token: 'hunter2' }, list: [1, 2] })
  })
})
