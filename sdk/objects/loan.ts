import type { ClientId } from '../../protocols/ids.ts'

/** Who borrows, and who has lent it the object; the borrower itself when it has said so on its own. */
export type Loan = string

export const loanOf = (borrower: ClientId, lender: ClientId): Loan => `${borrower} ${lender}`
export const borrowerOf = (loan: Loan): ClientId => loan.slice(0, loan.indexOf(' '))
export const lenderOf = (loan: Loan): ClientId => loan.slice(loan.indexOf(' ') + 1)
