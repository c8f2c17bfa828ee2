/** `sh install/demo.sh --shell`: the node of the lab at your fingertips, its guests and the internet around it. */
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { wrapProse } from '../../src/show/columns.ts'
import * as labs from '../lab/index.ts'
import type { Backend, Lab } from '../lab/index.ts'
import { pveTools } from '../lab/fixing.ts'
import { searchPath } from '../lab/machine.ts'

const WELCOME = `
You are root on node pve1, in a lab: nothing that you do here touches this machine's network.

  guests    105 (10.10.10.105), 107 and 108 on vmbr1; ssh listens in 105 and 107, a web server in 108
  rule      does what Add of the GUI does: rule add 105 in SSH "NAT 2222", rule add cluster out any NAT
  rules     stand in /etc/pve/firewall/105.fw and so on, as the GUI saves them: edit them with any editor
  pvenat    runs: systemctl status pvenat, pvenat list, iptables -t nat -S, man pvenat-comments
  call      who answers there? From the internet: inet call 203.0.113.2:1022
            from guest 107: guest 107 call 203.0.113.2:1022    out to the internet: guest 105 call 203.0.113.1:443

exit ends it.
`

/** In lines of at most so many columns. */
export const welcome = (columns: number): string => wrapProse(WELCOME, columns)

/** Ends with the shell, which reads what it is given when that is no terminal. */
export async function shellOn(lab: Lab, backend: Backend, tree: string): Promise<void> {
  const pvenat = new labs.Pvenat(lab, backend, tree)
  await pvenat.configure()
  await labs.loadPveFirewall(lab, backend, labs.node1Tree)
  await lab.serve('inet', 'tcp', 443)
  await lab.serve('105', 'tcp', 22)
  await lab.serve('107', 'tcp', 22)
  await lab.serve('108', 'tcp', 80)
  const bin = join(tree, '.bin')
  await writeTools(lab, pvenat, backend, bin)
  await lab.exec('pve', ['sh', '-c', `mkdir -p /etc/pve && mount --bind '${tree}' /etc/pve`])
  const env = { PATH: `${bin}:${searchPath}` }
  await lab.exec('pve', ['systemctl', 'start', 'pvenat'], { env })
  await labs.waitFor(async () => (await lab.exec('pve', ['grep', 'in force: ', '/run/pvenat.log'])).stdout)
  console.log(welcome(process.stdout.columns ?? Infinity))
  try {
    await lab.ns('pve').attach(['bash', '--rcfile', resolve('dist/completions/pvenat')], {
      cwd: '/',
      env: { ...env, PS1: '\\u@pve1:\\w# ', TERM: process.env['TERM'] ?? 'dumb' },
    })
  } finally {
    // The service is no child of this program.
    await lab.exec('pve', ['systemctl', 'stop', 'pvenat'], { env })
  }
}

/** What is typed on a node, and what stands for those who call it. */
async function writeTools(lab: Lab, pvenat: labs.Pvenat, backend: Backend, bin: string): Promise<void> {
  const [runtime = '', bundle = ''] = pvenat.argv('')
  const enter = (name: string): string => `nsenter --target ${lab.ns(name).pid} --net --mount --uts -- "$@"`
  const guests = ['105', '107', '108'].map((name) => `${name}) shift; exec ${enter(name)} ;;`)
  const plain = ['iptables', 'ip6tables'].flatMap((program) =>
    ['', '-save', '-restore'].map((rest) => [program + rest, `exec ${program}-${backend}${rest} "$@"`]),
  )
  const tools: Record<string, string> = {
    ...(Object.fromEntries(plain) as Record<string, string>),
    pvenat: `exec '${runtime}' '${bundle}' "$@" --node pve1`,
    pvesh: `PVE_TREE=/etc/pve exec '${runtime}' '${pveTools}' pvesh "$@"`,
    rule: RULE,
    systemctl: SYSTEMCTL,
    journalctl: 'exec cat /run/pvenat.log',
    man: manTool(resolve('dist')),
    inet: `exec ${enter('inet')}`,
    guest: `case $1 in ${guests.join(' ')} *) echo 'guest: expected 105, 107 or 108' >&2; exit 2 ;; esac`,
    call: `line=$(timeout 2 bash -c 'exec 3<>"/dev/tcp/\${1%:*}/\${1##*:}" && head -n 1 <&3' call "$1" 2>/dev/null)
if [ -z "$line" ]; then echo "$1: no answer"; exit 1; fi
set -- "$1" $line
echo "$1: answered by $2, port $3, which sees $4"`,
  }
  await mkdir(bin)
  for (const [name, text] of Object.entries(tools)) {
    await writeFile(join(bin, name), `#!/bin/sh\n${text}\n`)
    await chmod(join(bin, name), 0o755)
  }
}

/** As the fields of the GUI's Add are filled in. */
const RULE = `if [ $# -ne 5 ] || [ "$1" != add ]; then
  echo 'usage: rule add VMID|cluster|node in|out MACRO|PROTO/PORTS|any COMMENT' >&2
  exit 2
fi
case $2 in
  cluster) file=firewall/cluster.fw api=/cluster ;;
  node) file=nodes/pve1/host.fw api=/nodes/pve1 ;;
  *) file=firewall/$2.fw api=/nodes/pve1/lxc/$2 ;;
esac
[ -e "/etc/pve/$file" ] || { echo "rule: there is no /etc/pve/$file" >&2; exit 2; }
comment=$5 type=$3
case $4 in
  any) set -- ;;
  */*) set -- --proto "\${4%%/*}" --dport "\${4#*/}" ;;
  *) set -- --macro "$4" ;;
esac
exec pvesh create "$api/firewall/rules" --type "$type" --action ACCEPT "$@" --enable 1 --comment "$comment"`

/** The one unit that runs here. */
const SYSTEMCTL = `case "$*" in
  *pvenat*) ;;
  *) echo 'systemctl: in this lab there is only pvenat' >&2; exit 4 ;;
esac
pid=$(cat /run/pvenat.pid 2>/dev/null)
is_active() { [ -n "$pid" ] && ps -o stat= -p "$pid" | grep -q '^[^Z]'; }
start() { is_active || { setsid pvenat run >>/run/pvenat.log 2>&1 </dev/null & echo $! >/run/pvenat.pid; }; }
stop() { if is_active; then kill "$pid"; while is_active; do sleep 0.1; done; fi; }
say() { if is_active; then echo active; else echo inactive; exit 3; fi; }
case $1 in
  start) start ;;
  stop) stop ;;
  restart) stop; start ;;
  reload) is_active && kill -HUP "$pid" ;;
  is-active) say ;;
  status) tail -n 10 /run/pvenat.log; say ;;
  enable | disable) ;;
  *) echo "systemctl: $1 is not in this lab" >&2; exit 2 ;;
esac`

/** The pages as the package has them; as plain text where man is not installed. */
function manTool(dist: string): string {
  return `for page; do :; done
file=$(ls '${dist}'/man/"$page".? 2>/dev/null)
if [ -z "$file" ]; then exec /usr/bin/man "$@"; fi
if [ -x /usr/bin/man ]; then exec /usr/bin/man -l "$file"; fi
exec cat '${dist}'/pages/"\${file##*/}.md"`
}
