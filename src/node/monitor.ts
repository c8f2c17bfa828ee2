/** Programs that tell when something changed in the kernel. */
import { hold, type Held } from './exec.ts'

const RESTART_MS = 5000

export interface Monitor {
  close: () => void
}

/** Addresses and routes that appear, change or go. */
export function monitorNetwork(hint: () => void): Monitor {
  return monitorProgram('ip', ['monitor', 'address', 'route'], hint)
}

/** What anybody writes through nftables; without nft the regular looks have to do. */
export function monitorNft(hint: () => void): Monitor {
  return monitorProgram('nft', ['monitor'], hint)
}

/** Should the program end, it is started again after a while. */
function monitorProgram(file: string, args: readonly string[], hint: () => void): Monitor {
  let closed = false
  let held: Held | undefined
  let timer: NodeJS.Timeout | undefined
  const start = async (): Promise<void> => {
    held = await hold(file, args, hint)
    if (closed) return held?.stop()
    await held?.ended
    if (!closed) timer = setTimeout(() => void start(), RESTART_MS)
  }
  void start()
  return {
    close() {
      closed = true
      clearTimeout(timer)
      held?.stop()
    },
  }
}
