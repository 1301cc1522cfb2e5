export { secret, type SecretOptions } from './config/secret-schema.ts'
