import { QuintetError, type Secret } from '@quintet/core'
import { createTransport } from 'nodemailer'
import type { Mailer } from './mail.ts'

export interface SmtpMailerOptions {
  /** `smtps://user:password@host:465`, or `smtp://` for a server that is to offer STARTTLS. */
  readonly url: Secret
  /** The address that mail comes from. */
  readonly from: string
}

/**
 * Sends mail by a submission server, encrypted unless that is on this machine.
 *
 * @see RFC 6409, RFC 8314
 */
export function createSmtpMailer({ url, from }: SmtpMailerOptions): Mailer {
  const { protocol, hostname } = new URL(url.reveal())
  const isLocal = ['127.0.0.1', '[::1]', 'localhost'].includes(hostname)
  const transport = createTransport({
    url: url.reveal(),
    requireTLS: protocol === 'smtp:' && !isLocal,
    connectionTimeout: 5_000,
    greetingTimeout: 5_000,
    socketTimeout: 10_000,
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  return {
    async send({ to, subject, text }) {
      try {
        // As an object it is one address, whatever a parser of lists would make of it.
        await transport.sendMail({ from, to: { name: '', address: to }, subject, text })
      } catch (error) {
        throw notSent(error)
      }
    },
  }
}

/** What servers and the client say holds addresses; the code alone is kept. */
function notSent(error: unknown): QuintetError {
  const { code = 'unknown', responseCode = 'none' } = error as { code?: string; responseCode?: number }
  return new QuintetError('Mail cannot be sent now. Try again shortly.', {
    code: 'ERR_ACCOUNT_MAIL_UNAVAILABLE',
    kind: 'unavailable',
    cause: new Error(`SMTP: ${code}, answer ${responseCode}`),
  })
}
