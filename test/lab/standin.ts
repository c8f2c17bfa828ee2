/** Programs and other files of a node that are missing, or do not what they should: in this node's mounts only. */
import type { Lab } from './lab.ts'

const SCRATCH = '/run/standin'

/**
 * Puts a shell script in the place of a file, or nothing (undefined). In the script `$real` is the command that was there. Returns
 * how to undo it.
 */
export async function standIn(
  lab: Lab,
  file: string,
  script?: string,
  node = 'pve',
): Promise<() => Promise<void>> {
  const [, home = '', name = ''] = /^(.*)\/([^/]+)$/.exec(file) ?? []
  const sh = async (text: string): Promise<string> =>
    (await lab.exec(node, ['sh', '-ec', text])).stdout.trim()
  const folder = await sh(`at=${home}; while [ ! -d $at ]; do at=$(dirname $at); done; echo $at`)
  await sh(`mkdir -p ${SCRATCH}/upper ${SCRATCH}/work ${SCRATCH}/real
    [ ! -e ${file} ] || cp -L ${file} ${SCRATCH}/real/${name}
    mount -t overlay -o lowerdir=${folder},upperdir=${SCRATCH}/upper,workdir=${SCRATCH}/work overlay ${folder}
    rm -f ${file}`)
  if (script !== undefined)
    await lab.exec(node, ['sh', '-ec', `mkdir -p ${home}; cat > ${file}; chmod 755 ${file}`], {
      input: `#!/bin/sh\nreal=${SCRATCH}/real/${name}\n${script}\n`,
    })
  return async () => void (await sh(`umount -l ${folder}; rm -rf ${SCRATCH}`))
}
