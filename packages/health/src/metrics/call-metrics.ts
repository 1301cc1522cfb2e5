import type { InvocationObserver, Surface } from '@quintet/core/kit'
import type { Histogram, Metrics } from './metrics.ts'

const httpInstrument = 'http_server_request_duration_seconds'
/** OpenTelemetry's `http.response.status_code`, as Prometheus spells it. */
const statusLabel = 'http_response_status_code'

function labelsOf(instrument: string): readonly string[] {
  return instrument === httpInstrument ? ['operation', 'outcome', statusLabel] : ['operation', 'outcome']
}

/** The OpenTelemetry instrument of each surface, as Prometheus spells it. */
const instruments: Readonly<Record<Surface, string>> = {
  rpc: 'http_server_request_duration_seconds',
  route: 'http_server_request_duration_seconds',
  message: 'rpc_server_call_duration_seconds',
  link: 'rpc_server_call_duration_seconds',
  job: 'messaging_process_duration_seconds',
}

const help: Readonly<Record<string, string>> = {
  http_server_request_duration_seconds: 'Duration of HTTP calls that the pipeline has answered.',
  rpc_server_call_duration_seconds:
    'Duration of calls over WebSockets and links that the pipeline has answered.',
  messaging_process_duration_seconds: 'Duration of jobs that the pipeline has run.',
}

/**
 * Measures rate, errors and duration of every call, by operation and outcome.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
 */
export function observeCalls(metrics: Metrics): InvocationObserver {
  const histograms = new Map<string, Histogram>()
  const bound = new Map<string, (seconds: number) => void>()
  for (const name of new Set(Object.values(instruments))) {
    histograms.set(name, metrics.histogram(name, { help: help[name] ?? name, labels: labelsOf(name) }))
  }
  return {
    onSettled({ operation, outcome, status, durationMs }) {
      const name = instruments[operation.surface]
      const key = `${name} ${operation.name} ${outcome} ${String(status)}`
      let record = bound.get(key)
      if (record === undefined) {
        const labels = { operation: operation.name, outcome }
        record = histograms
          .get(name)
          ?.bind(name === httpInstrument ? { ...labels, [statusLabel]: String(status ?? '') } : labels)
        if (record === undefined) return
        // Operations are declared, so they are few; the bound is against a surface that names them as it likes.
        if (bound.size < 5_000) bound.set(key, record)
      }
      record(durationMs / 1_000)
    },
  }
}
