// Stand-ins for the tools of Proxmox VE that change what lies in a tree, and for modprobe, as far as fixes of pvenat use them.
//   node pvetools.mjs TOOL ARGUMENTS...     with PVE_TREE set
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

const tree = process.env.PVE_TREE
const [tool, ...words] = process.argv.slice(2)

function die(why) {
  process.stderr.write(`${tool}: ${why}\n`)
  process.exit(2)
}

function options(list) {
  const found = new Map()
  for (let i = 0; i < list.length; i += 2) found.set(list[i].replace(/^--?/, ''), list[i + 1])
  return found
}

const read = (file) => readFileSync(join(tree, file), 'utf8')
const write = (file, text) => writeFileSync(join(tree, file), text)

function fileOf(path) {
  const [, vmid] = /^\/nodes\/\w+\/(?:qemu|lxc)\/(\d+)\/firewall/.exec(path) ?? []
  if (vmid) return `firewall/${vmid}.fw`
  const [, node] = /^\/nodes\/(\w+)\/firewall/.exec(path) ?? []
  if (node) return `nodes/${node}/host.fw`
  return path.startsWith('/cluster/firewall') ? 'firewall/cluster.fw' : die(`no such path ${path}`)
}

/** Numbers of the lines that hold the rules of a section. */
function ruleLines(lines, header) {
  let inside = false
  return lines.flatMap((line, i) => {
    if (/^\[/.test(line)) inside = line.toLowerCase().startsWith(header)
    return inside && !/^(\[|#|$)/.test(line.trim()) ? [i] : []
  })
}

function changeRule(path, set) {
  const file = fileOf(path)
  const lines = read(file).split('\n')
  const group = /\/groups\/([^/]+)\/(\d+)$/.exec(path)
  const pos = Number(group?.[2] ?? /\/rules\/(\d+)$/.exec(path)?.[1])
  const at = ruleLines(lines, group ? `[group ${group[1]}]` : '[rules]')[pos]
  if (at === undefined) die(`no rule ${pos} in ${file}`)
  if (set.has('enable')) lines[at] = (set.get('enable') === '1' ? '' : '|') + lines[at].replace(/^\|/, '')
  if (set.has('comment')) lines[at] = `${lines[at].replace(/\s*#.*/, '')} # ${set.get('comment')}`
  for (const key of ['source', 'dest', 'dport', 'sport'].filter((one) => set.has(one)))
    lines[at] = lines[at].replace(new RegExp(`-${key} \\S+`), `-${key} ${set.get(key)}`)
  write(file, lines.join('\n'))
}

function createRule(path, set) {
  const file = fileOf(path)
  const fields = ['source', 'dest', 'proto', 'dport'].filter((key) => set.has(key))
  const action = set.has('macro') ? `${set.get('macro')}(${set.get('action')})` : set.get('action')
  const words = [set.get('type').toUpperCase(), action]
  for (const key of fields) words.push(key === 'proto' ? '-p' : `-${key}`, set.get(key))
  if (set.has('comment')) words.push('#', set.get('comment'))
  const rule = `${set.get('enable') === '1' ? '' : '|'}${words.join(' ')}`
  const text = read(file)
  write(
    file,
    /^\[RULES\]$/m.test(text)
      ? text.replace(/^\[RULES\]$/m, `[RULES]\n\n${rule}`)
      : `${text}\n[RULES]\n\n${rule}\n`,
  )
}

function changeOptions(path, set) {
  const file = fileOf(path)
  let text = existsSync(join(tree, file)) ? read(file) : '[OPTIONS]\n'
  for (const [key, value] of set) {
    const name = key === 'delete' ? value : key
    text = text.replace(new RegExp(`^${name}: .*\n`, 'm'), '')
    if (key !== 'delete') text = text.replace(/^\[OPTIONS\]\n/m, `[OPTIONS]\n${key}: ${value}\n`)
  }
  write(file, text)
}

function changeAlias(name, set) {
  const line = new RegExp(`^(${name}) \\S+`, 'm')
  const text = read('firewall/cluster.fw')
  if (!line.test(text)) die(`no such alias ${name}`)
  write('firewall/cluster.fw', text.replace(line, `$1 ${set.get('cidr')}`))
}

/** SDN writes its lines into the interfaces file; applying takes them away. */
function sdn(path, set) {
  const config = JSON.parse(read('sdn/.running-config'))
  const id = /\/subnets\/(.+)$/.exec(path)?.[1]
  if (id) {
    config.subnets.ids[id].snat = Number(set.get('snat'))
    return write('sdn/.running-config', JSON.stringify(config))
  }
  for (const [name, { snat, rule }] of Object.entries(config.subnets.ids))
    if (!snat && rule) (spawnSync('sh', ['-c', rule.replace(' -A ', ' -D ')], { stdio: 'inherit' }), name)
}

function pvesh([verb, path, ...rest]) {
  const set = options(rest)
  if (path.startsWith('/cluster/sdn')) return sdn(path, set)
  const [, alias] = /^\/cluster\/firewall\/aliases\/(\w+)$/.exec(path) ?? []
  if (alias) return changeAlias(alias, set)
  if (path.endsWith('/options')) return changeOptions(path, set)
  return verb === 'create' ? createRule(path, set) : changeRule(path, set)
}

/** `pct set 105 -net0 VALUE`, `qm set 107 --ipconfig0 VALUE`. */
function guest(type, [verb, vmid, key = '', value = '']) {
  if (verb !== 'set') return
  const file = `nodes/pve1/${type}/${vmid}.conf`
  const name = key.replace(/^--?/, '')
  const lines = read(file).split('\n')
  const at = lines.findIndex((line) => line.startsWith(`${name}:`))
  lines.splice(at < 0 ? 0 : at, at < 0 ? 0 : 1, `${name}: ${value}`)
  write(file, lines.join('\n'))
}

/** A test hides a module by a mount over its sysctls. Only the name of the right module uncovers them. */
const MODULES = { nf_conntrack: '/proc/sys/net/netfilter', br_netfilter: '/proc/sys/net/bridge' }

function modprobe([name]) {
  const { status } = spawnSync('umount', [MODULES[name] ?? die(`Module ${name} not found`)], {
    stdio: 'inherit',
  })
  process.exitCode = status
}

if (tool === 'pvesh') pvesh(words)
else if (tool === 'modprobe') modprobe(words)
else if (tool === 'pct') guest('lxc', words)
else if (tool === 'qm') guest('qemu-server', words)
else if (
  tool === 'systemctl' &&
  words.join(' ') === 'restart pve-cluster' &&
  !existsSync(join(tree, 'local'))
)
  symlinkSync('nodes/pve1', join(tree, 'local'))
