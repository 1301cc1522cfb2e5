export { generateNginxConfig, type NginxFiles } from './nginx/nginx-config.ts'
export type { NginxMaintenanceOptions, NginxOptions } from './nginx/nginx-options.ts'
