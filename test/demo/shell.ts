/** `sh install/demo.sh --shell`: the node of the lab at your fingertips, its guests and the internet around it. */
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as labs from '../lab/index.ts'
import type { Backend, Lab } from '../lab/index.ts'
import { searchPath } from '../lab/machine.ts'

const WELCOME = `
You are root on node pve1, in a lab: nothing that you do here touches this machine's network.

  guests    105 (10.10.10.105), 107 and 108 on vmbr1; ssh listens in 105 and 107, a web server in 108
  rules     in /etc/pve/firewall/105.fw and so on, as the GUI saves them: edit them with any editor
  pvenat    runs; what it says is in /run/pvenat.log; try: pvenat list
  call      who answers there? From the internet: inet call 203.0.113.2:1022
            from guest 107: guest 107 call 203.0.113.2:1022    out to the internet: guest 105 call 203.0.113.1:443

exit ends it.
`

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
  await writeTools(lab, pvenat, bin)
  await lab.exec('pve', ['sh', '-c', `mkdir -p /etc/pve && mount --bind '${tree}' /etc/pve`])
  const service = lab.spawn('pve', ['sh', '-c', 'exec pvenat run > /run/pvenat.log'], {
    env: { PATH: `${bin}:${searchPath}` },
  })
  await labs.waitFor(async () => (await lab.exec('pve', ['grep', 'in force: ', '/run/pvenat.log'])).stdout)
  console.log(WELCOME)
  await lab.ns('pve').attach(['bash', '--norc'], {
    cwd: '/',
    env: { PATH: `${bin}:${searchPath}`, PS1: '\\u@pve1:\\w# ', TERM: process.env['TERM'] ?? 'dumb' },
  })
  await service.stop()
}

/** What is typed on a node, and what stands for those who call it. */
async function writeTools(lab: Lab, pvenat: labs.Pvenat, bin: string): Promise<void> {
  const [runtime = '', bundle = ''] = pvenat.argv('')
  const enter = (name: string): string => `nsenter --target ${lab.ns(name).pid} --net --mount --uts -- "$@"`
  const guests = ['105', '107', '108'].map((name) => `${name}) shift; exec ${enter(name)} ;;`)
  const tools = {
    pvenat: `exec '${runtime}' '${bundle}' "$@" --node pve1`,
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
