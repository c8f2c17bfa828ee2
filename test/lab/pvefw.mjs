// One cycle of pve-firewall's loop, on what the real compiler made of a tree: read what is in force, write what differs, delete what
// bears one of its names and is not wanted, read again. Any command that fails ends the cycle, as it does there.
//   node pvefw.mjs BACKEND TREE TURN
// In odd turns it wants a little more than in even ones (a set, a member, a chain, a rule), so that every cycle has work.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'

const [backend, tree, turn] = process.argv.slice(2)
const isOdd = Number(turn) % 2 === 1
const isOurs = (chain) =>
  /^PVEFW-\S+$|^(tap|veth)\d+i\d+-(IN|OUT)$|^fwbr\d+(v\d+)?-(FW|IN|OUT|IPS)$|^GROUP-[^\s-]+-(IN|OUT)$/.test(
    chain,
  )

function must(file, args, input = '') {
  const options = { input, encoding: 'utf8', maxBuffer: 1 << 28 }
  const { status, stdout, stderr, error } = spawnSync(file, args, options)
  if (status === 0) return stdout
  process.stderr.write(
    `${[file, ...args].join(' ')}: ${error?.message ?? `exit ${status}`}: ${stderr}\n${input}`,
  )
  process.exit(1)
}

/** Without -w, as pve-firewall calls it. From 1.8.11 on that fails at once when somebody holds the xtables lock; older ones wait. */
function restore(command, table, text) {
  if (backend === 'legacy') must('flock', ['-n', '-E', '4', '/run/xtables.lock', 'true'])
  must(`${command}-${backend}-restore`, ['-T', table, '-n'], text)
}

const signed = (rules) => createHash('sha1').update(rules.join('\n')).digest('base64').slice(0, 27)

/** Chains by name, each with its rules and their signature; and the hooks. */
function wantedChains(family) {
  const chains = new Map()
  for (const line of readFileSync(`${tree}/pvefw.v${family}`, 'utf8').split('\n')) {
    const declared = /^:(\S+) /.exec(line)
    if (declared && isOurs(declared[1])) chains.set(declared[1], [])
    const rule = /^-A (\S+) /.exec(line)
    if (rule && chains.has(rule[1]) && !line.includes('PVESIG:')) chains.get(rule[1]).push(line)
  }
  if (isOdd) {
    chains.set('GROUP-turn-IN', [`-A GROUP-turn-IN -m set --match-set PVEFW-0-turn-v${family} src -j RETURN`])
    chains.get('PVEFW-SET-ACCEPT-MARK')?.push('-A PVEFW-SET-ACCEPT-MARK -j GROUP-turn-IN')
  }
  return chains
}

function readChains(command, table) {
  const found = { chains: new Map(), hooks: new Set() }
  for (const line of must(`${command}-${backend}-save`, ['-t', table]).split('\n')) {
    const declared = /^:(\S+)\s/.exec(line)
    if (declared && isOurs(declared[1])) found.chains.set(declared[1], '')
    const sig = /^-A (\S+) .*--comment "?PVESIG:([^"\s]+)/.exec(line)
    if (sig) found.chains.set(sig[1], sig[2])
    const hook = /^-A (INPUT|OUTPUT|FORWARD|PREROUTING) -j PVEFW-\1$/.exec(line)
    if (hook) found.hooks.add(hook[1])
  }
  return found
}

function tableText(command, table, wanted) {
  const { chains, hooks } = readChains(command, table)
  const changed = [...wanted].filter(([name, rules]) => chains.get(name) !== signed(rules))
  const stale = [...chains.keys()].filter((name) => !wanted.has(name))
  const missing = ['INPUT', 'OUTPUT', 'FORWARD', 'PREROUTING'].filter(
    (hook) => wanted.has(`PVEFW-${hook}`) && !hooks.has(hook),
  )
  const lines = [
    ...changed.filter(([name]) => !chains.has(name)).map(([name]) => `:${name} - [0:0]`),
    ...missing.map((hook) => `-A ${hook} -j PVEFW-${hook}`),
    ...changed.flatMap(([name, rules]) => [
      ...(chains.has(name) ? [`-F ${name}`] : []),
      ...rules,
      `-A ${name} -m comment --comment "PVESIG:${signed(rules)}"`,
    ]),
    ...stale.map((name) => `-F ${name}`),
    ...stale.map((name) => `-X ${name}`),
  ]
  return { text: [`*${table}`, ...lines, 'COMMIT', ''].join('\n'), isChanged: lines.length > 0 }
}

/** Sets by name: the create line, and the members sorted. */
function parseSets(text) {
  const sets = new Map()
  for (const line of text.split('\n')) {
    const [verb, name, ...rest] = line.split(' ')
    if (!name?.startsWith('PVEFW-')) continue
    if (verb === 'create') sets.set(name, { create: rest.join(' '), members: [] })
    else if (verb === 'add') sets.get(name).members.push(rest.join(' '))
  }
  for (const { members } of sets.values()) members.sort()
  return sets
}

function wantedSets() {
  const sets = parseSets(readFileSync(`${tree}/pvefw.ipset`, 'utf8'))
  if (isOdd) {
    for (const [family, member] of [
      [4, '192.0.2.200'],
      [6, '2001:db8:2::200'],
    ]) {
      const create = `hash:net family inet${family === 6 ? '6' : ''} hashsize 64 maxelem 64 bucketsize 12`
      sets.set(`PVEFW-0-turn-v${family}`, { create, members: [member] })
    }
    sets.get('PVEFW-0-trusted-v4')?.members.push('192.0.2.200')
  }
  return sets
}

/** What to create and swap before the rules, and what to destroy after them. */
function setTexts(wanted) {
  const found = parseSets(must('ipset', ['save']))
  const fill = (name, { create, members }) => [
    `create ${name} ${create}`,
    ...members.map((member) => `add ${name} ${member}`),
  ]
  const before = [...wanted].flatMap(([name, set]) => {
    const old = found.get(name)
    if (!old) return fill(name, set)
    if (old.members.join() === [...set.members].sort().join()) return []
    const swap = `${name}_swap`
    return [...fill(swap, set), `swap ${swap} ${name}`, `flush ${swap}`, `destroy ${swap}`]
  })
  const stale = [...found.keys()].filter((name) => !wanted.has(name))
  return {
    before: before.map((line) => `${line}\n`).join(''),
    after: stale.map((name) => `flush ${name}\ndestroy ${name}\n`).join(''),
  }
}

const families = [
  [4, 'iptables'],
  [6, 'ip6tables'],
]
for (const name of ['bridge-nf-call-iptables', 'bridge-nf-call-ip6tables'])
  writeFileSync(`/proc/sys/net/bridge/${name}`, '1')
const sets = wantedSets()
const { before, after } = setTexts(sets)
must('ipset', ['restore'], before)
for (const [family, command] of families) {
  restore(command, 'filter', tableText(command, 'filter', wantedChains(family)).text)
  restore(command, 'raw', tableText(command, 'raw', new Map()).text)
}
if (after !== '') must('ipset', ['restore'], after)

const left = families.filter(
  ([family, command]) => tableText(command, 'filter', wantedChains(family)).isChanged,
)
const leftSets = setTexts(sets)
if (left.length > 0 || leftSets.before + leftSets.after !== '') {
  process.stderr.write('what was written is not in force\n')
  process.exit(1)
}
