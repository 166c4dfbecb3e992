import { isAcceleratorType } from '../../protocols/accelerators.ts'

/** Makers and families, sizes of memory, sockets and revisions: what one and the same type is sold with. */
const frills =
  /\b(?:NVIDIA|AMD|ATI|Apple|Tesla|GeForce|Quadro|Radeon Instinct|Instinct|Radeon|Graphics|Generation|Accelerator)\b|\(TM\)|\b\d+ ?GB\b|\b(?:SXM\d?|PCI[Ee]|NVL\d*|OAM|HBM\d\w*)\b/gi

/**
 * The type of a GPU by the name that its driver or the list of the PCI bus gives it; undefined when the name says nothing.
 *
 * @example
 * gpuTypeOf('NVIDIA H100 80GB HBM3') // 'H100'
 * gpuTypeOf('GA102 [GeForce RTX 3090]') // 'RTX 3090'
 */
export function gpuTypeOf(name: string): string | undefined {
  const [, inBrackets = name] = /\[([^\]]+)\]\s*$/.exec(name) ?? []
  const [first = ''] = inBrackets.split(/[,/(]/, 1)
  const type = first
    .replaceAll(frills, ' ')
    .replaceAll(/\s*-+(?=\s|$)|(?<=\s)-+\s*/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim()
  return isAcceleratorType(type) ? type : undefined
}
