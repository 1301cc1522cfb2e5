export { directLink, type DirectLinkOptions } from './direct/direct-link.ts'
