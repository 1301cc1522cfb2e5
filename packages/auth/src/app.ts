export {
  createVerifier,
  type VerifierConfig,
  type VerifierContext,
  type VerifierOptions,
} from './app/create-verifier.ts'
