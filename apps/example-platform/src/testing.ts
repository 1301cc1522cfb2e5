export { openAppDatabase, type AppDatabase } from './testing/app-database.ts'
export { findIsolationFlaws } from './testing/isolation.ts'
export { startApp, type StartAppOptions, type StartedApp } from './testing/start-app.ts'
export { openTestIdentity, type TestIdentity, type TestMember } from './testing/test-identity.ts'
