import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** A certificate that signed itself, in files of its own. */
export interface Certificate extends AsyncDisposable {
  readonly certFile: string
  readonly keyFile: string
  readonly ca: string
}

/** Makes a certificate for one host name, and for no address. */
export async function makeCertificate(host: string): Promise<Certificate> {
  const directory = await mkdtemp(join(tmpdir(), 'quintet-certificate-'))
  const certFile = join(directory, 'cert.pem')
  const keyFile = join(directory, 'key.pem')
  await promisify(execFile)('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...['-subj', `/CN=${host}`, '-addext', `subjectAltName=DNS:${host}`],
    ...['-keyout', keyFile, '-out', certFile],
  ])
  return {
    certFile,
    keyFile,
    ca: await readFile(certFile, 'utf8'),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  }
}
