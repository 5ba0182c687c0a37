export { recoverCluster } from './recover-cluster.js';
export { recoverShard } from './recover-shard.js';
export { backupCluster } from './backup-cluster.js';
export { coldBackup } from './cold-backup.js';
export { coldRestore } from './cold-restore.js';
export { clusterLock } from './lock.js';
export { recoveryDrill } from './recovery-drill.js';
