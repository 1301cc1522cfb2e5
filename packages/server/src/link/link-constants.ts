/** Stands for a call without a deadline, in the place of the milliseconds that its caller will wait. */
export const noDeadline = 0xffff_ffff

/** Items that a stream may send before its reader has asked for more. */
export const initialCredit = 16
