import { Command } from 'commander'
import type { DoctorReport } from '../../protocols/admin.ts'
import { ShoalError } from '../../protocols/errors.ts'
import { shoalVersion } from '../../protocols/version.ts'
import { ok, warn, type Finding } from '../doctor/finding.ts'
import { checkLocal } from '../doctor/local-checks.ts'
import { collectLocalFacts } from '../doctor/local-facts.ts'
import { checkMesh } from '../doctor/mesh-checks.ts'
import { detectGpus, type NodeGpu } from '../resources/detect.ts'
import { formatGpu } from './format-gpu.ts'
import { clean, plural } from './format-text.ts'
import { styled } from './style.ts'
import { print, withNode } from './with-node.ts'

const help = `
Where two machines do not see each other, run it on both: the nodes try to connect to each other, and say what is in the way.
It exits with 1 when something does not work.

Examples:
  shoal doctor
  shoal doctor --json | jq '.[] | select(.level != "ok")'`

export function doctorCommand(): Command {
  return new Command('doctor')
    .summary('find out what keeps this machine from its mesh')
    .description('Checks this machine and the place of its node in the mesh, and says what to do about what it finds.')
    .option('--json', 'print JSON, one line')
    .addHelpText('after', help)
    .action(doctor)
}

async function doctor(options: { json?: boolean }): Promise<void> {
  const [own, report, gpus] = await Promise.all([collectLocalFacts(shoalVersion), askNode(), detectGpus()])
  // What holds for the node counts, not what holds for this command.
  const facts =
    report instanceof ShoalError
      ? own
      : { ...own, nodeVersion: report.nodeVersion, openFilesMax: report.openFilesMax ?? own.openFilesMax }
  const findings =
    report instanceof ShoalError
      ? [
          ...checkLocal(facts),
          gpusFound(gpus),
          warn('node', report.message, 'only this machine was looked at, not its place in a mesh'),
        ]
      : [
          ...checkLocal(facts),
          gpusFound(gpus),
          ok('node', `runs as ${report.name}, mesh ${report.meshName}`),
          ...checkMesh(report, facts, Date.now()),
        ]
  print(findings, options, format)
  if (findings.some(({ level }) => level === 'fail')) process.exitCode = 1
}

/** What would be offered of GPUs by a node that is not told otherwise. */
function gpusFound(gpus: readonly NodeGpu[]): Finding {
  const texts = gpus.map((gpu) => `${gpu.index}: ${formatGpu(gpu) || 'of no known type'}`)
  return ok('GPUs', texts.length === 0 ? 'none found' : texts.join('; '))
}

/** What the node can tell, or why it cannot. */
async function askNode(): Promise<DoctorReport | ShoalError> {
  try {
    return await withNode((client) => client.call('doctor', {}))
  } catch (error) {
    if (error instanceof ShoalError) return error
    throw error
  }
}

const marks = {
  ok: { text: 'ok  ', style: 'green' },
  warn: { text: 'warn', style: 'yellow' },
  fail: { text: 'FAIL', style: 'red' },
} as const

function format(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length))
  const lines = findings.flatMap(({ name, level, found, advice }) => {
    const { text, style } = marks[level]
    const line = `${styled(style, text)}  ${name.padEnd(width)}  ${clean(found)}`
    return advice === '' ? [line] : [line, `${' '.repeat(width + 8)}-> ${clean(advice)}`]
  })
  const count = (level: Finding['level']): number => findings.filter((finding) => finding.level === level).length
  const summary =
    count('fail') + count('warn') === 0
      ? 'All is well.'
      : `${plural(count('fail'), 'failure')}, ${plural(count('warn'), 'warning')}.`
  return [...lines, '', summary].join('\n')
}
