/** A packet on its way through the node. */
import type { Packet } from './packet.ts'
import type { Trail } from './step.ts'
import type { Flow } from './walk.ts'
import type { Sender } from './world.ts'

export interface Pass {
  /** As it was asked about. */
  packet: Packet
  sender: Sender
  /** As it is by now. */
  flow: Flow
  trail: Trail
}
