import { randomUUID } from 'node:crypto'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface Mail {
  readonly to: string
  readonly subject: string
  readonly text: string
}

/** The port to whatever sends mail. */
export interface Mailer {
  send(mail: Mail): Promise<void>
}

/** Writes each mail into a file of its own, for development. */
export function createFileMailer(directory: string): Mailer {
  return {
    async send({ to, subject, text }) {
      await mkdir(directory, { recursive: true })
      const path = join(directory, `${Date.now()}-${randomUUID()}.eml`)
      await writeFile(`${path}.part`, `To: ${to}\nSubject: ${subject}\n\n${text}\n`)
      await rename(`${path}.part`, path)
    },
  }
}
