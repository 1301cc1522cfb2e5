export { createSystemLogger, type SystemLoggerOptions } from './app/system-logger.ts'
export { createLogger } from './pino/create-logger.ts'
export type { LoggerOptions } from './pino/logger-spec.ts'
