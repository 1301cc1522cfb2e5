export { table } from './terminal/table.ts'
export { formatBytes, formatDuration } from './terminal/units.ts'
