export { createLogger, type LoggerOptions } from './logging/create-logger.ts'
