import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { Secret } from '@quintet/core'
import { expect, it } from 'vitest'
import { AuthConfig } from '../src/config.ts'
import { createSmtpMailer } from '../src/mail-smtp.ts'

interface SmtpServer extends AsyncDisposable {
  readonly url: Secret
  /** What clients have said, line by line. */
  readonly heard: readonly string[]
}

/** A small SMTP server, which knows neither STARTTLS nor the recipients that it is told to refuse. */
async function startSmtp(refused = 'none', host = '127.0.0.1'): Promise<SmtpServer> {
  const heard: string[] = []
  const server = createServer((socket) => {
    let isData = false
    const answer = (line: string): string => {
      if (isData && line !== '.') return ''
      if (isData || line === 'DATA') isData = !isData
      if (line === 'DATA') return '354 go on'
      if (line.startsWith('RCPT') && line.includes(refused)) return `550 no such user ${refused}`
      return line.startsWith('QUIT') ? '221 bye' : '250 ok'
    }
    socket.on('error', () => undefined)
    socket.write('220 test\r\n')
    createInterface({ input: socket }).on('line', (line) => {
      heard.push(line)
      const text = answer(line)
      if (text !== '') socket.write(`${text}\r\n`)
    })
  }).listen(0, host)
  await once(server, 'listening')
  return {
    url: new Secret(`smtp://${host}:${(server.address() as AddressInfo).port}`),
    heard,
    async [Symbol.asyncDispose]() {
      server.close()
    },
  }
}

const mail = { subject: 'Your address', text: 'Confirm your address: abc' }
const from = 'Example <no-reply@example.com>'

it('sends mail by SMTP, to one address alone', async () => {
  await using server = await startSmtp()
  const mailer = createSmtpMailer({ url: server.url, from })
  await mailer.send({ ...mail, to: 'ada@example.com' })
  const recipients = server.heard.filter((line) => line.startsWith('RCPT'))
  expect(recipients).toEqual(['RCPT TO:<ada@example.com>'])
  expect(server.heard).toContain('MAIL FROM:<no-reply@example.com>')
  expect(server.heard).toContain('Subject: Your address')
  expect(server.heard).toContain('Confirm your address: abc')
})

it('says that mail cannot be sent, and nothing of whom it was for', async () => {
  await using server = await startSmtp('eve@example.com')
  const mailer = createSmtpMailer({ url: server.url, from })
  const error = await mailer.send({ ...mail, to: 'eve@example.com' }).catch((each: unknown) => each)
  expect(error).toMatchObject({ code: 'ERR_ACCOUNT_MAIL_UNAVAILABLE', kind: 'unavailable' })
  const { stack, cause } = error as Error
  expect(`${String(stack)} ${String(cause)}`).not.toContain('eve@')
  expect(String(cause)).toContain('550')
})

it('sends nothing in the clear to another machine', async () => {
  // An address that is not known to be of this machine.
  await using server = await startSmtp('none', '127.1.1.1')
  const mailer = createSmtpMailer({ url: server.url, from })
  await expect(mailer.send({ ...mail, to: 'ada@example.com' })).rejects.toMatchObject({
    code: 'ERR_ACCOUNT_MAIL_UNAVAILABLE',
  })
  expect(server.heard[0]).toMatch(/^EHLO /)
  expect(server.heard.filter((line) => /^(?:MAIL|RCPT|DATA)/.test(line))).toEqual([])
})

it.each([
  [{ directory: '/mail', smtp: { url: 'smtps://a:b@mail.example', from } }, 'one of directory and smtp'],
  [{}, 'one of directory and smtp'],
  [{ smtp: { url: 'https://mail.example', from } }, 'smtp://'],
])('takes either a folder or a server: not %j', (given, reason) => {
  const { error } = AuthConfig.shape.mail.safeParse(given)
  expect(error?.message).toContain(reason)
})
