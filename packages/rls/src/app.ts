export {
  openDatabase,
  openDatabaseDefaults,
  type Database,
  type DatabaseContext,
  type OpenDatabaseOptions,
} from './app/open-database.ts'
