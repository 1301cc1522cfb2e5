/** Stands for a call without a deadline, in the place of the milliseconds that its caller will wait. */
export const noDeadline = 0xffff_ffff

/** Items that a stream may send before its reader has asked for more. */
export const initialCredit = 16

/** Bytes of a call beside its head, its origin and its input: the deadline, the length of the origin, the number and length of the head. */
export const callFields = 16
