export type { AuditListener, AuthEvent, AuthEventType } from './audit.ts'
export { toChallenge, type AuthChallenge, type ChallengeOptions } from './http/challenge.ts'
export { createDpopNonces, type DpopNonces, type DpopNoncesOptions } from './dpop/dpop-nonces.ts'
export type { ProvedRequest } from './dpop/dpop-proof.ts'
export {
  createDpopVerifier,
  dpopDefaults,
  type DpopOptions,
  type DpopVerifier,
  type DpopVerifierOptions,
} from './dpop/dpop-verifier.ts'
export { AuthError, authErrorCodes, type AuthErrorCode } from './errors.ts'
export { createTotpSecret, encodeBase32, findTotpStep, totpCode, totpUri } from './factors/totp.ts'
export type { SigningAlgorithm, VerificationAlgorithm } from './keys/algorithms.ts'
export type { Jwk } from './keys/import-key.ts'
export type { KeyInput, KeyState } from './keys/key-material.ts'
export {
  createKeyRing,
  keyRingDefaults,
  type KeyInfo,
  type KeyRing,
  type KeyRingOptions,
  type SigningKey,
  type StoredKey,
} from './keys/key-ring.ts'
export { keySet, type JwkSet, type KeySetOptions } from './keys/key-set.ts'
export { remoteJwks, remoteJwksDefaults, type FetchJwks, type RemoteJwksOptions } from './keys/remote-jwks.ts'
export { jwksAnswer, serveJwks, type JwksAnswer, type JwksAnswerOptions } from './keys/serve-jwks.ts'
export type { VerificationKey, VerificationKeys } from './keys/verification-keys.ts'
export type { Introspection } from './manager/introspection.ts'
export { createJwtAuthManager, type JwtAuthManager } from './manager/create-jwt-auth-manager.ts'
export {
  jwtAuthManagerDefaults,
  type BindingOptions,
  type JwtAuthManagerOptions,
  type TrackedSessions,
  type TrackSessions,
} from './manager/manager-options.ts'
export type { SessionSnapshot } from './manager/session-snapshot.ts'
export {
  DerivedSecret,
  deriveSecrets,
  type AuthSecrets,
  type DerivedSecrets,
  type SecretInput,
} from './secrets.ts'
export {
  sessionAuthorityDefaults,
  type SessionAuthorityOptions,
  type UserRights,
} from './authority/authority-options.ts'
export { createSessionAuthority } from './authority/create-session-authority.ts'
export type {
  PendingRevocation,
  RefreshOptions,
  RevokeWithinOptions,
  SessionAuthority,
  SessionTokens,
  SignIn,
  StepUp,
} from './authority/session-authority.ts'
export type { SessionRef, UserRef } from './sessions/session-keys.ts'
export type { Device, RevocationReason, Session, SessionRecord } from './sessions/session-record.ts'
export type { SessionRedis } from './sessions/session-redis.ts'
export type {
  FirstSeen,
  NewSession,
  Rotation,
  RotationResult,
  SessionChange,
  SessionLimits,
  SessionStore,
  SessionTransaction,
  StoredSession,
  UserRevocation,
} from './sessions/session-store.ts'
export type { SessionLookup } from './sessions/session-warmer.ts'
export { sessionRedisAcl, type SessionRedisAclOptions, type SessionRedisRole } from './sessions/redis-acl.ts'
export {
  throttleDefaults,
  type AdmittedAttempt,
  type AttemptLimit,
  type AttemptLimiter,
  type SignInAttempt,
  type ThrottleOptions,
} from './authority/throttle.ts'
export type { AccessClaims } from './tokens/access-claims.ts'
export {
  createTokenVerifier,
  tokenVerifierDefaults,
  type TokenCacheOptions,
  type TokenVerifier,
  type TokenVerifierOptions,
  type VerifiedToken,
} from './tokens/token-verifier.ts'
export {
  allOf,
  anyOf,
  guard,
  hasPermission,
  hasRole,
  inTenant,
  steppedUp,
  type Guard,
  type StepUpRule,
} from './guards.ts'
export {
  cookieNames,
  createSessionCookies,
  csrfHeader,
  sessionCookiesDefaults,
  type SessionCookies,
  type SessionCookiesOptions,
} from './http/session-cookies.ts'
export { tokenAnswer, tokenResponse, type TokenAnswer } from './http/token-answer.ts'
export type { AuthenticatorOptions } from './http/authenticator.ts'
export type { RequestFacts } from './http/request-facts.ts'
