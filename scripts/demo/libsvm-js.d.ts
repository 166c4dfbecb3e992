/** The part of libsvm-js that the demo uses; the package has no declarations of its own. */
declare module 'libsvm-js/asm.js' {
  interface SvmOptions {
    kernel: string
    type: string
    gamma: number
    cost: number
    tolerance: number
    weight?: Record<number, number>
    quiet?: boolean
  }

  class SVM {
    static KERNEL_TYPES: { RBF: string }
    static SVM_TYPES: { C_SVC: string }
    constructor(options: SvmOptions)
    train(samples: readonly Float64Array[], labels: readonly number[]): void
    predict(samples: readonly Float64Array[]): number[]
    /** Its memory is outside of what is collected. */
    free(): void
  }

  export default SVM
}
