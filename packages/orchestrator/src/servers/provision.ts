import { readFileSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { binPath, withCompileCache } from '../bin-path.ts'
import { describeError, OrchestratorError } from '../errors.ts'

/** What the short-lived provisioning process is told on its standard input. */
export interface ProvisionRequest {
  /** Of a login that may create databases and roles. */
  readonly adminUrl: string
  readonly databases: readonly {
    readonly app: string
    readonly name: string
    /** Whose it is, in words. */
    readonly subject: string
    /** Existing logins get these passwords. */
    readonly rotate: boolean
    readonly passwords: { readonly owner: string; readonly login: string; readonly system: string }
  }[]
}

/** The URLs of an app's logins. */
export interface DatabaseUrls {
  readonly ownerUrl: string
  readonly url: string
  readonly systemUrl: string
}

type ProvisionAnswer =
  | { readonly urls: Readonly<Record<string, DatabaseUrls>> }
  | { readonly problem: string }

/**
 * Makes sure that every app has its database and logins, in a process of its own, so that the supervisor never
 * loads a database client.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_PROVISION_FAILED`
 */
export async function provisionInProcess(
  request: ProvisionRequest,
): Promise<Readonly<Record<string, DatabaseUrls>>> {
  const child = spawn(process.execPath, [binPath, '@provision'], {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 60_000,
    env: withCompileCache(process.env),
  })
  child.stdin.on('error', () => undefined)
  child.stdin.end(JSON.stringify(request))
  const [output, noise] = await Promise.all([readAll(child.stdout), readAll(child.stderr)])
  let answer: ProvisionAnswer
  try {
    answer = JSON.parse(output) as ProvisionAnswer
  } catch {
    answer = {
      problem: noise.trim().split('\n').slice(-5).join('\n') || 'the process ended without an answer',
    }
  }
  if ('urls' in answer) return answer.urls
  throw new OrchestratorError(`The databases could not be prepared: ${answer.problem}`, {
    code: 'ERR_ORCHESTRATOR_PROVISION_FAILED',
    kind: 'unavailable',
  })
}

/** The body of that process. */
export async function provision(): Promise<void> {
  let answer: ProvisionAnswer
  try {
    const request = JSON.parse(readFileSync(0, 'utf8')) as ProvisionRequest
    const { provisionDatabase } = await import('@quintet/rls/migrations')
    const urls: Record<string, DatabaseUrls> = {}
    for (const { app, ...database } of request.databases)
      urls[app] = await provisionDatabase({ adminUrl: request.adminUrl, ...database })
    answer = { urls }
  } catch (error) {
    answer = { problem: describeError(error) }
  }
  process.stdout.write(JSON.stringify(answer))
}

async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  stream.setEncoding('utf8')
  for await (const chunk of stream) text += String(chunk)
  return text
}
