import type { DoctorPeer, DoctorReport } from '../../protocols/admin.ts'
import { fail, ok, warn, type Finding } from './finding.ts'
import type { LocalFacts } from './local-facts.ts'

const dayMs = 86_400_000
const certificateLowMs = 7 * dayMs
const clockWarnMs = 5_000
/** Certificates from further ahead are refused. */
const clockFailMs = 5 * 60_000
const namesMax = 5

/** What can be said of a node's place in its mesh. */
export function checkMesh(report: DoctorReport, facts: LocalFacts, nowMs: number): Finding[] {
  return [
    checkListening(report),
    checkFirewall(report),
    checkLinks(report),
    checkHead(report),
    checkMdns(report, facts),
    checkClock(report),
    checkVersions(report, facts),
    checkCertificate(report, nowMs),
  ]
}

function checkListening(report: DoctorReport): Finding {
  const { host } = report.listen
  const { addresses } = report
  const found = `listens at ${host.includes(':') ? `[${host}]` : host}:${portOf(report)}, tells others ${addresses.join(' ') || 'nothing'}`
  if (isLoopback(host)) {
    return warn(
      'addresses',
      found,
      'other machines cannot reach that: start the node without --listen, or with a LAN address',
    )
  }
  if (addresses.every((address) => isLoopback(address.split('/')[2] ?? ''))) {
    return warn(
      'addresses',
      found,
      'there is no address that other machines could use: connect this machine to a network',
    )
  }
  return ok('addresses', found)
}

/** Others have tried to connect to this node: whether they could tells more than any look at the rules of a firewall. */
function checkFirewall(report: DoctorReport): Finding {
  const { peers } = report
  const name = 'firewall'
  const port = portOf(report)
  const asked = peers.flatMap((peer) => (peer.dialBack === undefined ? [] : [{ peer, results: peer.dialBack }]))
  if (asked.length === 0) return ok(name, 'no other node could be asked to connect to this one')
  const failed = asked.filter(({ results }) => results.length > 0 && results.every(({ error }) => error !== ''))
  if (failed.length === 0) return ok(name, `${asked.length} of ${asked.length} other nodes can connect to this one`)
  const why = failed
    .slice(0, namesMax)
    .map(({ peer, results }) => `${peer.name}: ${results[0]?.error ?? ''}`)
    .join('; ')
  const found = `${failed.length} of ${asked.length} other nodes cannot connect to this one (${why})`
  const advice = `let TCP port ${port} in through this machine's firewall (such as \`ufw allow ${port}/tcp\`)`
  return failed.length === asked.length ? fail(name, found, advice) : warn(name, found, advice)
}

function checkLinks({ peers }: DoctorReport): Finding {
  const linked = peers.filter((peer) => peer.linked)
  const unlinked = peers.filter((peer) => !peer.linked)
  const found = `linked with ${linked.length} of ${peers.length} other nodes`
  if (peers.length === 0) return ok('links', 'no other node is known yet')
  if (unlinked.length === 0) return ok('links', found)
  return warn(
    'links',
    `${found}; not with ${names(unlinked)}`,
    'run `shoal doctor` there, too: one of the two must be able to connect to the other',
  )
}

function checkHead({ head, peers }: DoctorReport): Finding {
  if (head !== undefined) return ok('head', peers.find(({ node }) => node === head)?.name ?? head)
  return warn('head', 'none now', 'a new one is found within two seconds; if not, the log of the node says why')
}

function checkMdns({ isMdnsOn, mdnsSeen, peers }: DoctorReport, { interfaces }: LocalFacts): Finding {
  const name = 'multicast'
  if (!isMdnsOn) return ok(name, 'off: neighbours are found by the addresses of tokens, --peer and memory')
  if (!interfaces.some(({ isInternal, canMulticast }) => !isInternal && canMulticast)) {
    return warn(name, 'on, but no network interface can do it', 'name a member with `shoal up --peer ADDRESS`')
  }
  if (mdnsSeen > 0) return ok(name, `has found ${mdnsSeen} other member${mdnsSeen === 1 ? '' : 's'}`)
  if (peers.length === 0) return ok(name, 'on; no other member was found yet')
  return warn(
    name,
    'on, but it has found none of the other members',
    'UDP port 5353 may be closed, or the Wi-Fi keeps machines apart; name members with `shoal up --peer ADDRESS`',
  )
}

function checkClock({ peers }: DoctorReport): Finding {
  const offsets = peers.flatMap((peer) => (peer.clockOffsetMs === undefined ? [] : [{ peer, ms: peer.clockOffsetMs }]))
  const [worst] = offsets.toSorted((a, b) => Math.abs(b.ms) - Math.abs(a.ms))
  if (worst === undefined) return ok('clock', 'no other node to compare with')
  const offMs = Math.abs(worst.ms)
  if (offMs <= clockWarnMs) return ok('clock', `within ${(offMs / 1000).toFixed(1)} s of ${offsets.length} other nodes`)
  const found = `${worst.peer.name} is ${Math.round(offMs / 1000)} s ${worst.ms > 0 ? 'ahead' : 'behind'}`
  const advice = 'have all machines set their clocks by NTP (`timedatectl set-ntp true`)'
  return offMs > clockFailMs
    ? fail('clock', found, `${advice}; memberships are refused so far apart`)
    : warn('clock', found, advice)
}

function checkVersions({ version, peers }: DoctorReport, { shoalVersion }: LocalFacts): Finding {
  const minor = (text: string): string => text.split('.').slice(0, 2).join('.')
  if (version !== shoalVersion) {
    return warn(
      'version',
      `the node runs shoal ${version}, this command is ${shoalVersion}`,
      'start the node anew with `shoal down` and `shoal up`',
    )
  }
  const others = peers.filter((peer) => minor(peer.version) !== minor(version))
  if (others.length === 0) return ok('version', `shoal ${version}${peers.length === 0 ? '' : ', as the others'}`)
  const found = others.slice(0, namesMax).map((peer) => `${peer.name} ${peer.version}`)
  return warn('version', `shoal ${version}; others run another one: ${found.join(', ')}`, 'use the same version on all')
}

function checkCertificate({ certificateExpiresAtMs, role }: DoctorReport, nowMs: number): Finding {
  const leftMs = certificateExpiresAtMs - nowMs
  const date = new Date(certificateExpiresAtMs).toISOString().slice(0, 10)
  if (leftMs <= 0) {
    return fail(
      'certificate',
      `${role}, expired on ${date}`,
      'leave the mesh with `shoal leave`, and join it with a new token',
    )
  }
  const found = `${role}, valid for ${Math.floor(leftMs / dayMs)} days, until ${date}`
  if (leftMs >= certificateLowMs) return ok('certificate', found)
  return warn('certificate', found, 'it is renewed by any admin of the mesh that this node is linked with: start one')
}

/** A node that was told no port has been given one. */
function portOf({ listen, addresses }: DoctorReport): number {
  return Number(/\/tcp\/(\d+)/.exec(addresses[0] ?? '')?.[1] ?? listen.port)
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1'
}

function names(peers: readonly DoctorPeer[]): string {
  const shown = peers.slice(0, namesMax).map((peer) => peer.name)
  return peers.length > namesMax ? `${shown.join(', ')} and ${peers.length - namesMax} more` : shown.join(', ')
}
