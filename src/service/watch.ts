/** Events of the files beside /etc/pve: leases, and the settings of this node. Only hints, since the service looks at each interval anyway. */
import { watch } from 'chokidar'
import { dirname } from 'node:path'
import { LEARNT_FOLDERS } from '../node/learnt.ts'

export interface Watch {
  close: () => Promise<void>
}

export function watchFiles(config: string, hint: () => void): Watch {
  // Folders are watched: chokidar does not notice that a missing file appears.
  return watch([LEARNT_FOLDERS.leases, dirname(config)], {
    ignoreInitial: true,
    depth: 0,
    ignored: (path, stats) => stats?.isFile() === true && !path.endsWith('.leases') && path !== config,
  })
    .on('all', hint)
    .on('error', hint)
}
