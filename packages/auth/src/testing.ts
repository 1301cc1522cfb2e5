export { createTestAuth, type TestAuth, type TestAuthOptions, type TestUser } from './testing/test-auth.ts'
export { createTestClock, type TestClock } from './testing/test-clock.ts'
