/** How a recovery behaves. Every duration says its unit; every default is safe for production. */
export interface Policy {
  /** `required`: a person approves the plan. `auto`: the plan runs at once. */
  approval: 'required' | 'auto';
  /** Seconds to wait for an approval. @default 86_400 */
  approvalTimeoutSeconds: number;
  /** What happens to the fence when a recovery ends without success. */
  onFailure: 'stay-fenced' | 'unfence';
  /** Tables worked on at once, per node. Looks at them go together, so more at once cost a server less. @default 256 */
  lanesPerNode: number;
  /**
   * Of plans of more than about 200 tables: worked on at once, per shard. The worker begins with `lanesPerNode` for each
   * node and finds out how many are fastest, up to this. @default 256
   */
  maxTablesInFlight: number;
  /**
   * What one worker asks of a cluster's ZooKeeper in a second, at most: its own reads, and an estimate of what servers ask
   * for the statements that it sends. @default 10_000
   */
  maxKeeperRequestsPerSecond: number;
  /** Keep safety clones after a success (renamed aside) until somebody drops them. */
  keepAside: boolean;
  /** Which parts `CHECK TABLE` reads before anything destructive. @default 'all' */
  checkParts: 'all' | 'restored' | 'none';
  /** Seconds to wait for ZooKeeper or a node to come back before giving up. @default 900 */
  unavailableDeadlineSeconds: number;
  /** Seconds that one statement may run before it counts as hung. @default 3_600 */
  statementDeadlineSeconds: number;
  /** Seconds without a heartbeat after which a worker counts as dead and another takes over. @default 15 */
  heartbeatTimeoutSeconds: number;
  /** Seconds that ZooKeeper may keep the session of a server that died: so long, a replica may look alive. @default 60 */
  sessionTimeoutSeconds: number;
  /** Seconds to wait for `resolve` when tables failed and a person is there. @default 86_400 */
  resolveTimeoutSeconds: number;
}

export const DEFAULT_POLICY: Policy = {
  approval: 'required',
  approvalTimeoutSeconds: 86_400,
  onFailure: 'stay-fenced',
  lanesPerNode: 256,
  maxTablesInFlight: 256,
  maxKeeperRequestsPerSecond: 10_000,
  keepAside: true,
  checkParts: 'all',
  unavailableDeadlineSeconds: 900,
  statementDeadlineSeconds: 3_600,
  heartbeatTimeoutSeconds: 15,
  sessionTimeoutSeconds: 60,
  resolveTimeoutSeconds: 86_400,
};
