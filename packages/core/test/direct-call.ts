import { callProcedure, findProcedure, noCredentials, toQuintetError } from '../src/kit.ts'
import { QuintetError } from '../src/index.ts'
import type { SurfaceAdapter } from '../src/testing.ts'

/** The thinnest surface there is: JSON in, the pipeline, JSON out. */
export async function directCall(
  host: SurfaceAdapter['host'],
  { method, input, token }: Parameters<SurfaceAdapter['call']>[0],
): ReturnType<SurfaceAdapter['call']> {
  try {
    const { procedure, operation } = findProcedure(host, method)
    const text = JSON.stringify(input)
    const output = await callProcedure(
      host,
      procedure,
      {
        operation,
        credentials: token === undefined ? noCredentials : { scheme: 'bearer', token },
        requestId: 'test',
        signal: new AbortController().signal,
      },
      () => {
        if (text !== undefined && text.length > procedure.maxInputSize) {
          throw new QuintetError('The input is too large.', { code: 'ERR_TEST_TOO_LARGE', kind: 'too-large' })
        }
        return text === undefined ? undefined : JSON.parse(text)
      },
    )
    return { ok: true, output }
  } catch (thrown) {
    const { kind, code, message } = toQuintetError(thrown)
    return { ok: false, kind, code, message }
  }
}
