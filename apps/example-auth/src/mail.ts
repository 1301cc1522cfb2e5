import { randomUUID } from 'node:crypto'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AuthConfig } from './config.ts'
import { createSmtpMailer } from './mail-smtp.ts'

export interface Mail {
  readonly to: string
  readonly subject: string
  readonly text: string
}

/** The port to whatever sends mail. */
export interface Mailer {
  send(mail: Mail): Promise<void>
}

/** By a server, or into a folder. */
export function createMailer({ directory = '', smtp }: NonNullable<AuthConfig['mail']>): Mailer {
  return smtp === undefined ? createFileMailer(directory) : createSmtpMailer(smtp)
}

/** Writes each mail into a file of its own, for development. */
function createFileMailer(directory: string): Mailer {
  return {
    async send({ to, subject, text }) {
      await mkdir(directory, { recursive: true })
      const path = join(directory, `${Date.now()}-${randomUUID()}.eml`)
      await writeFile(`${path}.part`, `To: ${to}\nSubject: ${subject}\n\n${text}\n`)
      await rename(`${path}.part`, path)
    },
  }
}
