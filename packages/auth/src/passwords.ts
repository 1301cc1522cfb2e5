export { openBreachedPasswords, type BreachedPasswords } from './passwords/breached-passwords.ts'
